// The `reenact` program as a user meets it: messages, exit codes, files, its private server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/client/fake_service.h"
#include "tests/client/jpeg_bytes.h"
#include "tests/client/subprocess.h"
#include "tests/support/paths.h"

namespace reenact::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest() {
    std::ofstream(inputs_.File("face.png"), std::ios::binary) << "picture";
    std::ofstream(inputs_.File("drive.mp4"), std::ios::binary) << std::string(700'000, 'v');
    std::ofstream(inputs_.File("bundle.json")) << "{}";
  }

  // Starts `reenact` with nothing of ours in its environment but `environment`.
  std::unique_ptr<Subprocess> Start(std::vector<std::string> arguments,
                                    std::map<std::string, std::string> environment = {}) {
    for (const char* name : {"REENACT_SERVER", "REENACT_BUNDLE", "REENACTD"}) {
      environment.emplace(name, "");
    }
    arguments.insert(arguments.begin(), REENACT_PROGRAM);
    return std::make_unique<Subprocess>(arguments, environment);
  }

  // `run` with the usual inputs, into `outputs_`, on the fake server's job `model`.
  std::vector<std::string> RunArguments(const std::string& model,
                                        const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run",
                                          "--source",
                                          inputs_.File("face.png"),
                                          "--driving",
                                          inputs_.File("drive.mp4"),
                                          "-o",
                                          outputs_.File("out.mp4"),
                                          "--model",
                                          model};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  // The environment in which a private server is the fake one.
  std::map<std::string, std::string> PrivateServer() {
    return {{"REENACTD", FAKE_REENACTD},
            {"REENACT_BUNDLE", inputs_.path()},
            {"FAKE_REENACTD_PID", inputs_.File("pid")}};
  }

  // Whether the private server has left.
  bool PrivateServerIsGone() {
    int pid = 0;
    EXPECT_TRUE(absl::SimpleAtoi(ReadFile(inputs_.File("pid")), &pid));
    return pid > 0 && kill(pid, 0) != 0;
  }

  TemporaryFolder inputs_, outputs_;
};

// With a server in this process, so that the request can be looked at.
class RunTest : public CommandLineTest {
 protected:
  void SetUp() override {
    server_ = StartFakeServer(service_, target_);
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::unique_ptr<Subprocess> StartRun(const std::string& model,
                                       std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--server", target_});
    return Start(RunArguments(model, more));
  }

  const std::string target_ = "unix:" + inputs_.File("server.sock");
  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(CommandLineTest, HelpNamesTheExitCodes) {
  auto help = Start({"run", "--help"});

  EXPECT_EQ(help->Wait(), 0);

  EXPECT_THAT(help->out(), AllOf(HasSubstr("--driving"), HasSubstr("--deadline"),
                                 HasSubstr("Exit codes: 0 done; 1 the job failed; 2 wrong usage")));
}

TEST_F(CommandLineTest, WrongUsageIsTold) {
  struct Case {
    std::vector<std::string> arguments;
    std::string message;
  };
  const std::string face = inputs_.File("face.png"), drive = inputs_.File("drive.mp4");
  const std::string out = outputs_.File("out.mp4");
  const Case cases[] = {
      {{}, "subcommand"},
      {{"run"}, "--driving"},
      {{"run", "-d", drive, "-o", out}, "--source, --text or both"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--sampler", "best"}, "ddim, ddpm"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--steps", "many"}, "--steps"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--deadline", "soon"}, "90s"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--edit", "red hair"}, "FROM => TO"},
      {{"run", "-s", face, "-d", drive, "-o", outputs_.File("a.avi")}, "a.avi"},
      {{"run", "-s", face, "-d", drive, "-o", outputs_.File("f/"), "--quality", "3"}, "PNG"},
      {{"run", "-s", face, "-d", drive, "-o", drive}, "one of the inputs"},
      {{"run", "-s", outputs_.File("no.png"), "-d", drive, "-o", out}, outputs_.File("no.png")},
      {{"run", "-s", face, "-d", outputs_.File("no.mp4"), "-o", out}, outputs_.File("no.mp4")},
      {{"run", "-s", inputs_.path(), "-d", drive, "-o", out}, "it is a folder"},
      {{"run", "-s", face, "-d", drive, "-o", outputs_.File("x/out.mp4")}, "make it first"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair", "source=" + face},
       "has no driver-face=FACE"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair", "driver-face=1"},
       "has neither a source-face=FACE of the picture of --source nor a source"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair", "driver-face=1; nose=2"},
       "'nose=2' is not one of driver-face=FACE"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair", "driver-face=1; source"},
       "'source' is not NAME=VALUE"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair", "driver-face=1; text=\"long; hair"},
       "'text=\"long; hair' has a quote that does not end"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair", "driver-face=1; text=\" \""},
       "--pair: the text is empty"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--text", ""}, "--text: the text is empty"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--text", " "}, "--text: the text is empty"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--pair",
        "driver-face=1; source=" + outputs_.File("no.png")},
       outputs_.File("no.png")},
      {{"cancel"}, "job"},
      {{"live", "-s", face}, "--out"},
      {{"live", "-d", drive, "-o", out}, "--source, --text or both"},
      {{"live", "-s", face, "-d", drive, "-o", out, "--fps", "fast"}, "is not a frame rate"},
      {{"live", "-s", face, "-d", drive, "-o", out, "--pace"}, "--pace: needs --fps"},
      {{"live", "-s", face, "-d", drive, "-o", out, "--skip", "early"}, "late"},
      {{"live", "-s", face, "-d", outputs_.File("no"), "-o", out}, outputs_.File("no")},
      {{"live", "-s", face, "-d", drive, "-o", out, "--plan", "contiguous"}, "--plan"},
      {{"live", "-s", face, "-d", drive, "-o", out, "--method", "anchored"}, "--method"},
      {{"run", "-s", face, "-d", drive, "-o", out, "--method", "best"}, "anchored, multidiffusion"},
  };
  for (const Case& wrong : cases) {
    auto program = Start(wrong.arguments);
    EXPECT_EQ(program->Wait(), 2) << program->err();
    EXPECT_THAT(program->err(), HasSubstr(wrong.message));
  }
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(CommandLineTest, NoServerIsExitCodeThree) {
  const std::string target = "unix:" + inputs_.File("none.sock");
  for (const std::vector<std::string>& arguments :
       {RunArguments("echo", {"--server", target}),
        std::vector<std::string>{"models", "--server", target},
        std::vector<std::string>{"health", "--server", target},
        std::vector<std::string>{"cancel", kFakeJobId, "--server", target}}) {
    auto program = Start(arguments);
    EXPECT_EQ(program->Wait(), 3) << program->err();
    EXPECT_THAT(program->err(), HasSubstr(target));
  }
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(RunTest, WritesTheVideo) {
  auto program = StartRun("echo", {"--seed", "18446744073709551615"});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_EQ(ReadFile(outputs_.File("out.mp4")), std::string(700'000, 'v'));
  EXPECT_THAT(outputs_.List(), ElementsAre("out.mp4"));
  EXPECT_EQ(program->out(), "");
  EXPECT_THAT(
      program->err(),
      AllOf(HasSubstr(absl::StrCat("job ", kFakeJobId)),
            HasSubstr("rendering  step 10/10  frames 0/3  1:15 left"),
            HasSubstr("out.mp4: 3 frames"), HasSubstr("seed 18446744073709551615"),
            HasSubstr("2 rows, of their places 6 padding"), HasSubstr("note: sound left out"),
            HasSubstr("frame 4: no face"), HasSubstr("2 more frames"), Not(HasSubstr("\x1b"))));
}

TEST_F(RunTest, APosterIsAFileOfItsOwn) {
  auto program = StartRun("echo", {"--poster", outputs_.File("poster.jpg"), "--matte", "below"});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_TRUE(service_.config().output().poster());
  EXPECT_EQ(service_.config().output().matte(), v1::MATTE_BELOW);
  EXPECT_EQ(ReadFile(outputs_.File("poster.jpg")), "a poster");
  EXPECT_THAT(outputs_.List(), UnorderedElementsAre("out.mp4", "poster.jpg"));
}

TEST_F(RunTest, APosterThatDoesNotComeIsAnError) {
  auto program = StartRun("no-poster", {"--poster", outputs_.File("poster.jpg")});

  EXPECT_EQ(program->Wait(), 1);

  EXPECT_THAT(program->err(), HasSubstr("no poster"));
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(RunTest, APosterDoesNotReplaceAnotherFile) {
  for (const std::string& taken :
       {inputs_.File("face.png"), inputs_.File("drive.mp4"), outputs_.File("out.mp4")}) {
    auto program = StartRun("echo", {"--poster", taken});
    EXPECT_EQ(program->Wait(), 2);
    EXPECT_THAT(program->err(), HasSubstr("the output or one of the inputs"));
  }
}

TEST_F(RunTest, ASourceVideoIsToldByItsContent) {
  const auto source_of = [&](const std::string& content) {
    std::ofstream(inputs_.File("source")) << content;
    auto program =
        Start({"run", "--source", inputs_.File("source"), "--driving", inputs_.File("drive.mp4"),
               "-o", outputs_.File("out.mp4"), "--model", "echo", "--server", target_});
    EXPECT_EQ(program->Wait(), 0) << program->err();
    return service_.config().source();
  };
  for (const std::string& video :
       {std::string("\0\0\0\x20"
                    "ftypisom",
                    12),
        std::string("\x1A\x45\xDF\xA3 webm"), std::string("RIFF1234AVI LIST"),
        std::string("GIF89a"), std::string("OggS"), "G" + std::string(187, ' ') + "G"}) {
    EXPECT_EQ(source_of(video).video(), video);
    EXPECT_EQ(source_of(video).image(), "");
  }
  for (const std::string& image : {std::string("RIFF1234WEBPVP8 "), std::string("\x89PNG"),
                                   std::string("neither"), std::string("G")}) {
    EXPECT_EQ(source_of(image).image(), image);
    EXPECT_EQ(source_of(image).video(), "");
  }
}

TEST_F(RunTest, AnEditReachesTheServer) {
  auto program = StartRun("echo", {"--edit", "brown hair =>red hair ", "--strength", "0.7"});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_EQ(service_.config().source().edit().from(), "brown hair");
  EXPECT_EQ(service_.config().source().edit().to(), "red hair");
  EXPECT_EQ(service_.config().source().edit_strength(), 0.7);
}

TEST_F(RunTest, PairsReachTheServer) {
  std::ofstream(inputs_.File("b.png"), std::ios::binary) << "another picture";
  std::ofstream(inputs_.File("who.png"), std::ios::binary) << "who is meant";
  auto program = StartRun(
      "echo",
      {"--pair", "driver-face=1; source-face=0.25,0.5", "--pair",
       absl::StrCat("source=", inputs_.File("b.png"), ";driver-face=", inputs_.File("who.png"),
                    "; text=\"with a hat; \\\"red\\\"\"; strength=0.25")});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  const v1::JobConfig config = service_.config();
  EXPECT_EQ(config.source().image(), "picture");
  ASSERT_EQ(config.further_faces_size(), 2);
  const v1::FacePair& first = config.further_faces(0);
  EXPECT_EQ(first.driver_face().index(), 1);
  EXPECT_EQ(first.source().face().position().x(), 0.25);
  EXPECT_EQ(first.source().image(), "");
  const v1::FacePair& second = config.further_faces(1);
  EXPECT_EQ(second.driver_face().reference_image(), "who is meant");
  EXPECT_EQ(second.source().image(), "another picture");
  EXPECT_FALSE(second.source().has_face());
  EXPECT_EQ(second.source().text(), "with a hat; \"red\"");
  EXPECT_EQ(second.source().edit_strength(), 0.25);
  EXPECT_THAT(program->err(), HasSubstr("pair 2: its driver's face was found in 1 of 2 frames"));
}

TEST_F(RunTest, TheMethodForLongVideosReachesTheServer) {
  auto program =
      StartRun("echo", {"--method", "multidiffusion", "--window", "4", "--overlap", "2"});
  EXPECT_EQ(program->Wait(), 0) << program->err();
  v1::JobConfig config = service_.config();
  EXPECT_EQ(config.long_video_method(), v1::LONG_VIDEO_METHOD_MULTIDIFFUSION);
  EXPECT_EQ(config.window().frames(), 4);
  EXPECT_EQ(config.window().overlap(), 2);

  program = StartRun("echo", {"--plan", "balanced", "--anchors", "per-scene"});
  EXPECT_EQ(program->Wait(), 0) << program->err();
  config = service_.config();
  EXPECT_EQ(config.sequence_plan(), v1::SEQUENCE_PLAN_BALANCED);
  EXPECT_EQ(config.anchor_placement(), v1::ANCHOR_PLACEMENT_PER_SCENE);
  EXPECT_EQ(config.long_video_method(), v1::LONG_VIDEO_METHOD_UNSPECIFIED);
  EXPECT_FALSE(config.has_window());
}

TEST_F(RunTest, EveryFlagReachesTheServer) {
  auto program = StartRun("echo", {"--text",
                                   "with a hat",
                                   "--edit-strength",
                                   "0.25",
                                   "--seed",
                                   "7",
                                   "--steps",
                                   "9",
                                   "--sampler",
                                   "DDIM",
                                   "--eta",
                                   "0.5",
                                   "--guidance",
                                   "1.5",
                                   "--plan",
                                   "central_interleaved",
                                   "--size",
                                   "128",
                                   "--quality",
                                   "31",
                                   "--no-face",
                                   "hold",
                                   "--priority",
                                   "-7",
                                   "--tenant",
                                   "ann",
                                   "--no-audio",
                                   "--motion",
                                   "absolute",
                                   "--motion-strength",
                                   "1.25",
                                   "--motion-pose",
                                   "0.1",
                                   "--motion-mouth",
                                   "0.2",
                                   "--motion-eyes",
                                   "0.3",
                                   "--motion-gaze",
                                   "0.4",
                                   "--source-expression",
                                   "0.6",
                                   "--smoothing",
                                   "2",
                                   "--source-face",
                                   "0.25,0.5",
                                   "--driver-face",
                                   "2",
                                   "--codec",
                                   "vp9",
                                   "--encoding-speed",
                                   "slow",
                                   "--paste-back"});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  const v1::JobConfig config = service_.config();
  EXPECT_EQ(config.motion().mode(), v1::MOTION_MODE_ABSOLUTE);
  EXPECT_EQ(config.motion().strength(), 1.25);
  EXPECT_EQ(config.motion().pose(), 0.1);
  EXPECT_EQ(config.motion().mouth(), 0.2);
  EXPECT_EQ(config.motion().eyes(), 0.3);
  EXPECT_EQ(config.motion().gaze(), 0.4);
  EXPECT_EQ(config.motion().source_expression(), 0.6);
  EXPECT_EQ(config.smoothing(), 2);
  EXPECT_EQ(config.source().face().position().x(), 0.25);
  EXPECT_EQ(config.driver_face().index(), 2);
  EXPECT_EQ(config.output().codec(), v1::VIDEO_CODEC_VP9);
  EXPECT_EQ(config.output().speed(), v1::ENCODING_SPEED_SLOW);
  EXPECT_EQ(config.output().composition(), v1::COMPOSITION_PASTE_BACK);
  EXPECT_EQ(config.source().image(), "picture");
  EXPECT_EQ(config.source().text(), "with a hat");
  EXPECT_EQ(config.source().edit_strength(), 0.25);
  EXPECT_EQ(config.seed(), 7u);
  EXPECT_EQ(config.num_steps(), 9);
  EXPECT_EQ(config.sampler(), v1::SAMPLER_DDIM);
  EXPECT_EQ(config.ddim_eta(), 0.5);
  EXPECT_EQ(config.guidance_scale(), 1.5);
  EXPECT_EQ(config.sequence_plan(), v1::SEQUENCE_PLAN_CENTRAL_INTERLEAVED);
  EXPECT_EQ(config.no_face_policy(), v1::NO_FACE_POLICY_HOLD);
  EXPECT_EQ(config.priority(), -7);
  EXPECT_EQ(service_.tenant(), "ann");
  EXPECT_EQ(config.output().format(), v1::OUTPUT_FORMAT_FRAGMENTED_MP4);
  EXPECT_EQ(config.output().size(), 128);
  EXPECT_EQ(config.output().crf(), 31);
  EXPECT_TRUE(config.output().has_copy_audio());
  EXPECT_FALSE(config.output().copy_audio());
}

// `live`, whose driving stream is a named pipe.
class LiveTest : public RunTest {
 protected:
  LiveTest() {
    signal(SIGPIPE, SIG_IGN);
    mkfifo(stream_.c_str(), 0600);
  }
  ~LiveTest() override { CloseStream(); }

  std::unique_ptr<Subprocess> StartLive(std::vector<std::string> more = {}) {
    more.insert(more.begin(),
                {"live", "--source", inputs_.File("face.png"), "--driving", stream_, "--out",
                 outputs_.File("out.mp4"), "--model", "echo", "--server", target_});
    auto program = Start(more);
    writer_ = open(stream_.c_str(), O_WRONLY | O_CLOEXEC);
    return program;
  }
  void Write(const std::string& bytes) {
    ASSERT_EQ(write(writer_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void CloseStream() {
    if (writer_ >= 0) close(writer_);
    writer_ = -1;
  }

  const std::string stream_ = inputs_.File("camera");
  int writer_ = -1;
};

TEST_F(LiveTest, SendsThePicturesOfAStream) {
  auto program = StartLive({"--fps", "29.97"});
  Write(SmallJpeg("one") + TrickyJpeg("two") + SmallJpeg("three"));
  CloseStream();

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_EQ(ReadFile(outputs_.File("out.mp4")),
            SmallJpeg("one") + TrickyJpeg("two") + SmallJpeg("three"));
  EXPECT_THAT(service_.pts(), ElementsAre(0, 1, 2));
  const v1::JobConfig config = service_.config();
  EXPECT_EQ(config.live().time_base().numerator(), 100);
  EXPECT_EQ(config.live().time_base().denominator(), 2997);
  EXPECT_EQ(config.live().skip_policy(), v1::SKIP_POLICY_UNSPECIFIED);
  EXPECT_FALSE(config.live().has_max_wait());
  EXPECT_EQ(config.sequence_plan(), v1::SEQUENCE_PLAN_UNSPECIFIED);
  EXPECT_THAT(program->err(), AllOf(HasSubstr("lag 0.42 s  0.98x real time  2 skipped"),
                                    HasSubstr("live: 3 frames in, lag 0.42 s")));
}

TEST_F(LiveTest, FlagsReachTheServer) {
  auto program = StartLive({"--skip", "never", "--max-wait", "1500ms", "--steps", "4"});
  Write(SmallJpeg("one") + SmallJpeg("two"));
  CloseStream();

  EXPECT_EQ(program->Wait(), 0) << program->err();

  const v1::JobConfig config = service_.config();
  EXPECT_EQ(config.live().time_base().numerator(), 1);
  EXPECT_EQ(config.live().time_base().denominator(), 1'000'000);
  EXPECT_EQ(config.live().skip_policy(), v1::SKIP_POLICY_WAIT);
  EXPECT_EQ(config.live().max_wait().seconds(), 1);
  EXPECT_EQ(config.live().max_wait().nanos(), 500'000'000);
  EXPECT_EQ(config.num_steps(), 4);
  EXPECT_EQ(service_.pts().size(), 2u);
}

TEST_F(LiveTest, InterruptEndsTheDrivingAndKeepsTheResult) {
  auto program = StartLive();
  Write(SmallJpeg("one"));
  // The picture has been there and back.
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "lag"); }));

  program->Signal(SIGINT);

  EXPECT_EQ(program->Wait(), 0) << program->err();
  EXPECT_EQ(ReadFile(outputs_.File("out.mp4")), SmallJpeg("one"));
}

TEST_F(LiveTest, StreamThatIsNoneIsTold) {
  auto program = StartLive();
  Write(std::string(1000, 'x'));
  CloseStream();

  EXPECT_EQ(program->Wait(), 2) << program->err();
  EXPECT_THAT(program->err(), HasSubstr("holds no JPEG picture"));
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(RunTest, UnsetFlagsStayUnset) {
  auto program = StartRun("echo");

  EXPECT_EQ(program->Wait(), 0) << program->err();

  const v1::JobConfig config = service_.config();
  EXPECT_FALSE(config.has_priority());
  EXPECT_EQ(service_.tenant(), "");
  EXPECT_FALSE(config.has_num_steps());
  EXPECT_FALSE(config.has_ddim_eta());
  EXPECT_FALSE(config.has_guidance_scale());
  EXPECT_FALSE(config.source().has_edit_strength());
  EXPECT_FALSE(config.output().has_size());
  EXPECT_FALSE(config.output().has_crf());
  EXPECT_FALSE(config.output().has_copy_audio());
  EXPECT_EQ(config.sampler(), v1::SAMPLER_UNSPECIFIED);
  EXPECT_EQ(config.sequence_plan(), v1::SEQUENCE_PLAN_UNSPECIFIED);
}

TEST_F(RunTest, FramesGoIntoAFolder) {
  auto program = StartRun("frames", {"-o", outputs_.File("frames"), "--format", "jpeg"});
  EXPECT_EQ(program->Wait(), 2) << "-o twice must not be taken silently";

  program = Start({"run", "--source", inputs_.File("face.png"), "--driving",
                   inputs_.File("drive.mp4"), "-o", outputs_.File("frames"), "--format", "jpeg",
                   "--quality", "77", "--model", "frames", "--server", target_});
  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_EQ(service_.config().output().format(), v1::OUTPUT_FORMAT_JPEG);
  EXPECT_EQ(service_.config().output().jpeg_quality(), 77);
  EXPECT_EQ(ReadFile(outputs_.File("frames/frame_000002.jpg")), "frame 2");
  EXPECT_THAT(ReadFile(outputs_.File("frames/timestamps.csv")), HasSubstr("2,2002,1/30000,"));
  EXPECT_THAT(outputs_.List(), ElementsAre("frames"));
}

TEST_F(RunTest, VideoMayGoToStandardOutput) {
  auto program = Start(
      {"run", "-t", "a man", "-d", inputs_.File("drive.mp4"), "-o", "-", "--server", target_});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_EQ(program->out(), std::string(700'000, 'v'));
}

TEST_F(RunTest, QuietIsQuiet) {
  auto program = StartRun("echo", {"--quiet"});

  EXPECT_EQ(program->Wait(), 0);

  EXPECT_EQ(program->out() + program->err(), "");
}

TEST_F(RunTest, JsonIsOneObjectOnStandardOutput) {
  auto program = StartRun("echo", {"--json", "--quiet", "--seed", "3"});

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_THAT(program->out(), AllOf(HasSubstr("\"output\":"), HasSubstr("\"frames_out\":\"3\""),
                                    HasSubstr("\"seed\":\"3\""), HasSubstr("sound left out")));
}

TEST_F(RunTest, FailuresLeaveNoFileAndSayWhatToDo) {
  struct Case {
    std::string model;
    int exit_code;
    std::vector<std::string> messages;
  };
  const Case cases[] = {
      {"fail:9:no face found in the source image",
       2,
       {"no face found in the source image", inputs_.File("face.png"), "seen from the front"}},
      {"fail:3:driving media: frame 17 does not decode",
       2,
       {"frame 17", inputs_.File("drive.mp4")}},
      {"reject:3:num_steps: 0 is not in 1 to 50", 2, {"0 is not in 1 to 50", "--steps"}},
      {"reject:5:model \"x\" is not known", 2, {"reenact models"}},
      {"full", 1, {"the queue is full", "Try again in 2.5s"}},
      {"fail:13:job 12ab failed", 1, {"12ab", "not of your files"}},
      {"fail:14:draining", 3, {"draining"}},
      {"fail:1:cancelled by an operator", 4, {"cancelled by an operator"}},
      {"no-summary", 1, {"without a summary"}},
  };
  for (const Case& failing : cases) {
    auto program = StartRun(failing.model);
    EXPECT_EQ(program->Wait(), failing.exit_code) << failing.model << program->err();
    for (const std::string& message : failing.messages) {
      EXPECT_THAT(program->err(), HasSubstr(message));
    }
    EXPECT_THAT(outputs_.List(), IsEmpty()) << failing.model;
  }
}

TEST_F(RunTest, FailureKeepsAnOlderResult) {
  std::ofstream(outputs_.File("out.mp4")) << "older";

  auto program = StartRun("fail:13:x");
  EXPECT_EQ(program->Wait(), 1);

  EXPECT_EQ(ReadFile(outputs_.File("out.mp4")), "older");
  EXPECT_THAT(outputs_.List(), ElementsAre("out.mp4"));
}

TEST_F(RunTest, ErrorIsJsonToo) {
  auto program = StartRun("fail:9:no face in the \"source\"", {"--json"});

  EXPECT_EQ(program->Wait(), 2);

  EXPECT_THAT(program->out(), HasSubstr("{\"error\":{\"code\":\"FAILED_PRECONDITION\",\"message\":"
                                        "\"no face in the \\\"source\\\""));
}

TEST_F(RunTest, DeadlineIsExitCodeFour) {
  // Long enough for the service to get the call on a busy machine.
  auto program = StartRun("hang", {"--deadline", "2"});

  EXPECT_EQ(program->Wait(), 4) << program->err();

  EXPECT_THAT(program->err(), HasSubstr("--deadline"));
  EXPECT_THAT(outputs_.List(), IsEmpty());
  EXPECT_TRUE(service_.WaitForCancelled(1));
}

TEST_F(RunTest, CtrlCCancelsTheJob) {
  auto program = StartRun("hang");
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "denoising"); }))
      << program->err();

  program->Signal(SIGINT);

  EXPECT_EQ(program->Wait(), 4) << program->err();
  EXPECT_THAT(program->err(), HasSubstr("interrupted"));
  EXPECT_TRUE(service_.WaitForCancelled(1));
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(RunTest, ModelsHealthAndCancel) {
  auto models = Start({"models", "--server", target_});
  EXPECT_EQ(models->Wait(), 0) << models->err();
  EXPECT_THAT(models->out(), AllOf(HasSubstr("echo  (default)"), HasSubstr("64 x 64"),
                                   HasSubstr("ddim (default)"), HasSubstr("Apache-2.0")));

  auto health = Start({"health", "--server", target_});
  EXPECT_EQ(health->Wait(), 0) << health->err();
  EXPECT_THAT(health->out(), HasSubstr("alive, ready"));

  server_->GetHealthCheckService()->SetServingStatus("reenact.v1.ReenactService", false);
  health = Start({"health"}, {{"REENACT_SERVER", target_}});
  EXPECT_EQ(health->Wait(), 3);
  EXPECT_THAT(health->out(), HasSubstr("alive, not ready"));

  auto cancel = Start({"cancel", kFakeJobId, "--server", target_});
  EXPECT_EQ(cancel->Wait(), 0) << cancel->err();
  cancel = Start({"cancel", "other", "--server", target_});
  EXPECT_EQ(cancel->Wait(), 2);
  EXPECT_THAT(cancel->err(), HasSubstr("no such job"));
}

TEST_F(CommandLineTest, PrivateServerDoesTheJobAndLeaves) {
  auto program = Start(RunArguments("echo"), PrivateServer());

  EXPECT_EQ(program->Wait(), 0) << program->err();

  EXPECT_EQ(ReadFile(outputs_.File("out.mp4")).size(), 700'000u);
  EXPECT_TRUE(PrivateServerIsGone());
}

TEST_F(CommandLineTest, CtrlCEndsThePrivateServer) {
  auto program = Start(RunArguments("hang"), PrivateServer());
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "denoising"); }))
      << program->err();

  program->Signal(SIGINT);

  EXPECT_EQ(program->Wait(), 4) << program->err();
  EXPECT_TRUE(PrivateServerIsGone());
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(CommandLineTest, CtrlCEndsAServerThatIsStillStarting) {
  auto environment = PrivateServer();
  environment["FAKE_REENACTD_START"] = "hang";
  auto program = Start(RunArguments("echo"), environment);
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "starting"); }));

  program->Signal(SIGTERM);

  EXPECT_EQ(program->Wait(), 4) << program->err();
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(CommandLineTest, SecondCtrlCDoesNotWaitForADeafServer) {
  auto environment = PrivateServer();
  environment["FAKE_REENACTD_DEAF"] = "1";
  auto program = Start(RunArguments("hang"), environment);
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "denoising"); }))
      << program->err();

  program->Signal(SIGINT);
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "interrupted"); }));
  const absl::Time second = absl::Now();
  program->Signal(SIGINT);

  EXPECT_EQ(program->Wait(), 4) << program->err();
  EXPECT_LT(absl::Now() - second, absl::Seconds(4)) << "the server's own time to end is 5 s";
  EXPECT_TRUE(PrivateServerIsGone());
}

TEST_F(CommandLineTest, KilledToolTakesItsServerAlong) {
  auto program = Start(RunArguments("hang"), PrivateServer());
  ASSERT_TRUE(program->ReadUntil([&] { return absl::StrContains(program->err(), "denoising"); }))
      << program->err();

  program->Signal(SIGKILL);
  program->Wait();

  // The kernel kills it at the same moment; whoever inherits it may still have to collect it.
  int pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(ReadFile(inputs_.File("pid")), &pid));
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  std::string state;
  do {
    state = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  } while (!state.empty() && !absl::StrContains(state, ") Z ") && absl::Now() < deadline);
  EXPECT_TRUE(state.empty() || absl::StrContains(state, ") Z ")) << state;
}

TEST_F(CommandLineTest, ServerThatCannotStartIsExplained) {
  auto environment = PrivateServer();
  environment["FAKE_REENACTD_START"] = "fail";

  auto program = Start(RunArguments("echo"), environment);
  EXPECT_EQ(program->Wait(), 3) << program->err();

  EXPECT_THAT(program->err(), AllOf(HasSubstr("exit code 1"), HasSubstr("wrong hash")));
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(CommandLineTest, ServerThatNeverGetsReadyIsGivenUp) {
  auto environment = PrivateServer();
  environment["FAKE_REENACTD_START"] = "hang";

  // Long enough for the server to say its number on a busy machine.
  auto program = Start(RunArguments("echo", {"--start-timeout", "2s"}), environment);
  EXPECT_EQ(program->Wait(), 3) << program->err();

  EXPECT_THAT(program->err(), HasSubstr("not ready within 2s"));
  EXPECT_TRUE(PrivateServerIsGone());
}

TEST_F(CommandLineTest, ServerThatDiesInTheMiddleIsExplained) {
  auto program = Start(RunArguments("die"), PrivateServer());

  EXPECT_EQ(program->Wait(), 3) << program->err();

  EXPECT_THAT(program->err(),
              AllOf(HasSubstr("in the middle of the job"), HasSubstr("exit code 9")));
  EXPECT_THAT(outputs_.List(), IsEmpty());
}

TEST_F(CommandLineTest, MissingServerProgramOrBundleIsWrongUsage) {
  auto program = Start(RunArguments("echo"), {{"REENACTD", "/nowhere/reenactd"}});
  EXPECT_EQ(program->Wait(), 2) << program->err();
  EXPECT_THAT(program->err(), HasSubstr("/nowhere/reenactd"));

  program =
      Start(RunArguments("echo", {"--bundle", outputs_.path()}), {{"REENACTD", FAKE_REENACTD}});
  EXPECT_EQ(program->Wait(), 2) << program->err();
  EXPECT_THAT(program->err(), AllOf(HasSubstr(outputs_.path()), HasSubstr("bundle.json")));
}

}  // namespace
}  // namespace reenact::testing
