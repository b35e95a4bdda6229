// The parts of the `reenact` program that can be reached without running it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/tool/explain.h"
#include "client/tool/output.h"
#include "client/tool/pair_text.h"
#include "client/tool/progress.h"
#include "client/tool/server_process.h"
#include "google/protobuf/descriptor.h"
#include "reenact/v1/reenact.pb.h"
#include "tests/client/subprocess.h"
#include "tests/support/paths.h"

namespace reenact::tool {
namespace {

using ::reenact::testing::ReadFile;
using ::reenact::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

TEST(OutputTest, FileAppearsOnlyWhenComplete) {
  TemporaryFolder folder;
  const std::string path = folder.File("out.mp4");
  std::ofstream(path) << "old";

  auto output = CreateFileOutput(path);
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_TRUE((*output)->WriteVideo("new ").ok());
  ASSERT_TRUE((*output)->WriteVideo("content").ok());
  EXPECT_EQ(ReadFile(path), "old");
  ASSERT_TRUE((*output)->Commit().ok());

  EXPECT_EQ(ReadFile(path), "new content");
  EXPECT_THAT(folder.List(), ElementsAre("out.mp4"));
  // As any program would have made it, not as private as a temporary file.
  struct stat about = {};
  ASSERT_EQ(stat(path.c_str(), &about), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(about.st_mode & 0777, 0666 & ~mask);
}

TEST(OutputTest, AbandonedFileLeavesNothing) {
  TemporaryFolder folder;

  ASSERT_TRUE(CreateFileOutput(folder.File("out.mp4")).value()->WriteVideo("half").ok());

  EXPECT_THAT(folder.List(), IsEmpty());
}

TEST(OutputTest, FramesAppearTogether) {
  TemporaryFolder folder;

  auto output = CreateFolderOutput(folder.File("frames/"), "png");
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_TRUE((*output)->WriteFrame({0, 0, 1, 30000, "zero"}).ok());
  ASSERT_TRUE((*output)->WriteFrame({1, 1001, 1, 30000, "one"}).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.File("frames")));
  ASSERT_TRUE((*output)->Commit().ok());

  EXPECT_EQ(ReadFile(folder.File("frames/frame_000001.png")), "one");
  EXPECT_EQ(ReadFile(folder.File("frames/timestamps.csv")),
            "index,pts,time_base,seconds\n0,0,1/30000,0.000000\n1,1001,1/30000,0.033367\n");
  EXPECT_THAT(folder.List(), ElementsAre("frames"));
}

TEST(OutputTest, FolderWithContentIsKept) {
  TemporaryFolder folder;
  std::ofstream(folder.File("precious")) << "x";

  const auto output = CreateFolderOutput(folder.path(), "png");

  EXPECT_EQ(output.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(output.status().message()), HasSubstr("not empty"));
  EXPECT_THAT(folder.List(), ElementsAre("precious"));
}

TEST(OutputTest, SaysWhyAPlaceCannotBeWritten) {
  TemporaryFolder folder;

  const auto output = CreateFileOutput(folder.File("missing/out.mp4"));

  EXPECT_EQ(output.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(output.status().message()),
              HasSubstr("there is no folder " + folder.File("missing")));
}

TEST(ProgressTest, SaysWhatIsKnown) {
  ProgressState state;
  state.stage = "denoising";
  EXPECT_EQ(Describe(state), "denoising");

  state.steps_done = 12;
  state.total_steps = 50;
  state.frames_done = 3;
  state.total_frames = 216;
  state.time_left = absl::Milliseconds(40'100);
  EXPECT_EQ(Describe(state), "denoising  step 12/50  frames 3/216  0:41 left");

  state.time_left = absl::Seconds(3 * 3600 + 62);
  EXPECT_THAT(Describe(state), HasSubstr("3:01:02 left"));
}

TEST(ProgressTest, LiveJobShowsHowItKeepsUp) {
  ProgressState state;
  state.stage = "denoising";
  state.steps_done = 60;
  state.total_steps = 65;
  state.frames_done = 120;
  state.total_frames = 128;
  state.live = LiveProgress{.lag_seconds = 0.414};
  EXPECT_EQ(Describe(state), "denoising  frames 120/128  lag 0.41 s  0 skipped");

  state.live->real_time_ratio = 1.017;
  state.live->frames_skipped = 3;
  EXPECT_EQ(Describe(state), "denoising  frames 120/128  lag 0.41 s  1.02x real time  3 skipped");
}

TEST(ProgressTest, LiveLinesDoNotComeWithEveryFrame) {
  TemporaryFolder folder;
  std::FILE* out = std::fopen(folder.File("log").c_str(), "w");
  ASSERT_NE(out, nullptr);
  {
    Progress progress(out, Progress::Style::kLines);
    ProgressState state;
    state.stage = "denoising";
    state.live = LiveProgress{};
    for (state.total_steps = 1; state.total_steps <= 1000; ++state.total_steps) {
      state.steps_done = state.total_steps / 2;
      progress.Update(state);
    }
    state.stage = "rendering";
    progress.Update(state);
  }
  std::fclose(out);

  const std::string log = ReadFile(folder.File("log"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2) << log;
}

TEST(ProgressTest, BarIsNeverLongerThanItsWidth) {
  EXPECT_EQ(Bar(0, 4), "[....]");
  EXPECT_EQ(Bar(0.5, 4), "[##..]");
  EXPECT_EQ(Bar(7, 4), "[####]");
  EXPECT_EQ(Bar(-1, 4), "[....]");
  EXPECT_EQ(Bar(0.0 / 0.0, 4), "[....]");
}

TEST(ProgressTest, LinesComeAtStagesAndTenths) {
  TemporaryFolder folder;
  std::FILE* out = std::fopen(folder.File("log").c_str(), "w");
  ASSERT_NE(out, nullptr);
  {
    Progress progress(out, Progress::Style::kLines);
    ProgressState state;
    state.stage = "denoising";
    state.total_steps = 1000;
    for (; state.steps_done <= 1000; ++state.steps_done) progress.Update(state);
    state.stage = "rendering";
    progress.Update(state);
  }
  std::fclose(out);

  const std::string log = ReadFile(folder.File("log"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 12);
  EXPECT_THAT(log, StartsWith("reenact: denoising  step 0/1000\n"));
  EXPECT_THAT(log, Not(HasSubstr("\x1b")));
}

TEST(ExplainTest, EveryCodeHasItsExitCode) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::ResourceExhaustedError("too many frames")), 2);
  EXPECT_EQ(ExitCodeFor(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(ExitCodeFor(absl::FailedPreconditionError("")), 2);
  EXPECT_EQ(ExitCodeFor(absl::NotFoundError("")), 2);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), 3);
  EXPECT_EQ(ExitCodeFor(absl::CancelledError("")), 4);
  EXPECT_EQ(ExitCodeFor(absl::DeadlineExceededError("")), 4);
}

TEST(ExplainTest, NamesTheFileOrFlag) {
  const JobNames names = {"dog.jpg", "walk.mp4", ""};

  EXPECT_THAT(Explain(absl::FailedPreconditionError("no face found in the source image"), names),
              HasSubstr("dog.jpg"));
  EXPECT_THAT(Explain(absl::InvalidArgumentError("driving media: not a video"), names),
              HasSubstr("walk.mp4"));
  EXPECT_THAT(Explain(absl::InvalidArgumentError("num_steps: 0 is not in 1 to 50"), names),
              HasSubstr("--steps"));
  EXPECT_THAT(Explain(absl::NotFoundError("no such model: x"), names), HasSubstr("reenact models"));
  EXPECT_THAT(Explain(absl::InvalidArgumentError("live.max_wait is 11s, must be 0 to 10s"), names),
              HasSubstr("--max-wait"));
  EXPECT_THAT(Explain(absl::DeadlineExceededError("no driving media came for 1m"), names),
              HasSubstr("silent"));
}

// Every name by which a server may call a field or an enum's value of `message`.
void CollectNames(const google::protobuf::Descriptor& message, const std::string& prefix,
                  std::set<std::string>& names) {
  for (int i = 0; i < message.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *message.field(i);
    const std::string name =
        absl::StrCat(prefix, std::string(field.name()), field.is_repeated() ? "[0]" : "");
    if (field.message_type() != nullptr) {
      CollectNames(*field.message_type(), name + ".", names);
      continue;
    }
    names.insert(name);
    if (field.enum_type() == nullptr) continue;
    for (int k = 0; k < field.enum_type()->value_count(); ++k) {
      names.insert(std::string(field.enum_type()->value(k)->name()));
    }
  }
}

// Whoever adds a field to the contract also says which flag sets it.
TEST(ExplainTest, EveryFieldHasItsFlag) {
  std::set<std::string> names, flagless;
  CollectNames(*v1::JobConfig::descriptor(), "", names);
  CollectNames(*v1::ExtractMotionConfig::descriptor(), "", names);
  EXPECT_THAT(names, IsSupersetOf({"window.overlap", "further_faces[0].source.edit.from",
                                   "driver_face.position.x", "ANCHOR_PLACEMENT_PER_SCENE"}));
  for (const std::string& name : names) {
    const auto flag = FlagOf(name);
    EXPECT_TRUE(flag.has_value()) << name << " is not in client/tool/explain.cc";
    if (flag == "") flagless.insert(name);
  }
  // The program chooses the key itself; --quality is a number.
  EXPECT_THAT(flagless, ElementsAre("ENCODING_QUALITY_HIGH", "ENCODING_QUALITY_LOW",
                                    "ENCODING_QUALITY_MEDIUM", "ENCODING_QUALITY_UNSPECIFIED",
                                    "idempotency_key", "output.quality"));
}

TEST(ExplainTest, EveryFlagExists) {
  std::set<std::string> flags;
  for (const char* command : {"run", "live"}) {
    testing::Subprocess program({REENACT_PROGRAM, command, "--help"});
    ASSERT_EQ(program.Wait(), 0) << program.err();
    for (const absl::string_view word :
         absl::StrSplit(program.out(), absl::ByAnyChar(" ,\n"), absl::SkipEmpty())) {
      if (absl::StartsWith(word, "--")) flags.emplace(word);
    }
  }
  std::set<std::string> names;
  CollectNames(*v1::JobConfig::descriptor(), "", names);
  for (const std::string& name : names) {
    for (const absl::string_view flag :
         absl::StrSplit(FlagOf(name).value_or(""), " or ", absl::SkipEmpty())) {
      EXPECT_TRUE(flags.contains(std::string(flag))) << name << ": " << flag;
    }
  }
}

TEST(ExplainTest, NamesWhatEachProblemIsAboutAndNothingElse) {
  const JobNames names = {"dog.jpg", "walk.mp4", ""};
  const auto explain = [&](const char* message) {
    const std::string text = Explain(absl::InvalidArgumentError(message), names);
    return text.substr(text.find('\n') + 1);
  };

  EXPECT_EQ(explain("window is set, must be unset with LONG_VIDEO_METHOD_ANCHORED"),
            "window is set with --window or --overlap, LONG_VIDEO_METHOD_ANCHORED with --method.");
  EXPECT_EQ(explain("window.frames is 9, must be 1 to 8"), "That is set with --window.");
  EXPECT_EQ(explain("sampler is SAMPLER_DDPM, must be one of SAMPLER_DDIM"),
            "That is set with --sampler.");
  EXPECT_EQ(explain("source.edit_strength is 2, must be 0 to 1; num_steps is 1, must be 2 to 50"),
            "source.edit_strength is set with --strength, num_steps with --steps.");
  EXPECT_EQ(explain("source.edit is set, must be unset beside source.text"),
            "That is set with --edit.");
  EXPECT_EQ(explain("further_faces[1].source.edit.from has 0 bytes, must have 1 to 1000"),
            "That is set with --pair.");
  EXPECT_EQ(explain("motion.mode is MOTION_MODE_RELATIVE, must be MOTION_MODE_ABSOLUTE or unset "
                    "without a source.image or source.video"),
            "That is set with --motion.");
  EXPECT_EQ(explain("output.matte is MATTE_ALPHA, must be MATTE_NONE without OUTPUT_FORMAT_PNG"),
            "output.matte is set with --matte, OUTPUT_FORMAT_PNG with --format.");
  EXPECT_EQ(explain("source.face.index is 64, must be 0 to 63"), "That is set with --source-face.");
  EXPECT_EQ(explain("source.video: the video has no frames"), "The source is dog.jpg.");
  EXPECT_EQ(explain("source image: not an image"), "The source is dog.jpg.");
  EXPECT_EQ(explain("frame 3 of the driving video has no face"), "The driving video is walk.mp4.");
  EXPECT_EQ(explain("driver_face: no face found in frame 0."), "That is set with --driver-face.");
}

TEST(PairTextTest, ValuesMayHoldWhatSeparatesThem) {
  using Parts = std::vector<std::pair<std::string, std::string>>;
  const std::pair<const char*, Parts> cases[] = {
      {"", {}},
      {" ; ;", {}},
      {"a=1", {{"a", "1"}}},
      {" a = 1 ;b=2;", {{"a", "1"}, {"b", "2"}}},
      {"a=x=y => z", {{"a", "x=y => z"}}},
      {R"(a="1; 2";b=3)", {{"a", "1; 2"}, {"b", "3"}}},
      {R"(a= " 1 " ; b=3)", {{"a", " 1 "}, {"b", "3"}}},
      {R"(a="say \"no; no\" \\ \n")", {{"a", R"(say "no; no" \ \n)"}}},
      {R"(a=5'10";b=\;)", {{"a", R"(5'10")"}, {"b", R"(\)"}}},
  };
  for (const auto& [text, expected] : cases) {
    const auto parts = SplitPair(text);
    ASSERT_TRUE(parts.ok()) << text << ": " << parts.status();
    EXPECT_EQ(*parts, expected) << text;
  }
}

TEST(PairTextTest, SaysWhichPartIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"a=1; b", "'b' is not NAME=VALUE"},
      {"a=1; b; c=2", "'b' is not NAME=VALUE"},
      {"a= ; b=2", "'a=' is not NAME=VALUE"},
      {"=1; b=2", "'=1' is not NAME=VALUE"},
      {R"(a=""; b=2)", R"('a=""' is not NAME=VALUE)"},
      {R"(a=1; b="2; 3)", R"('b="2; 3' has a quote that does not end)"},
      {R"(a="1\")", R"('a="1\"' has a quote that does not end)"},
      {R"(a="1"2; b=3)", R"('2' follows the quotes of a=)"},
  };
  for (const auto& [text, message] : cases) {
    const auto parts = SplitPair(text);
    EXPECT_EQ(parts.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(parts.status().message()), HasSubstr(message)) << text;
  }
}

TEST(ServerProcessTest, EndsWithItsOwnerAndLeavesNothing) {
  auto server = ServerProcess::Start({FAKE_REENACTD, "unused", {}});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE((*server)->Running());
  const pid_t pid = (*server)->pid();
  const std::string socket = (*server)->target().substr(5);

  server->reset();

  EXPECT_NE(kill(pid, 0), 0);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(socket).parent_path()));
}

TEST(ServerProcessTest, DeafServerIsKilled) {
  setenv("FAKE_REENACTD_DEAF", "1", 1);
  ServerProcess::Options options = {FAKE_REENACTD, "unused", {}};
  options.stop_timeout = absl::Milliseconds(100);
  auto server = ServerProcess::Start(options);
  unsetenv("FAKE_REENACTD_DEAF");
  ASSERT_TRUE(server.ok()) << server.status();

  (*server)->Stop();

  EXPECT_FALSE((*server)->Running());
  EXPECT_THAT((*server)->how_it_ended(), StartsWith("signal"));
}

TEST(ServerProcessTest, TellsHowAServerEnded) {
  setenv("FAKE_REENACTD_START", "fail", 1);
  auto server = ServerProcess::Start({FAKE_REENACTD, "unused", {}});
  unsetenv("FAKE_REENACTD_START");
  ASSERT_TRUE(server.ok()) << server.status();

  ASSERT_TRUE((*server)->EndsWithin(absl::Seconds(30)));

  EXPECT_EQ((*server)->how_it_ended(), "exit code 1");
  EXPECT_THAT((*server)->LogTail(3), HasSubstr("wrong hash"));
}

TEST(ServerProcessTest, NoSuchProgram) {
  EXPECT_EQ(ServerProcess::Start({"/nowhere/reenactd", "unused", {}}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reenact::tool
