// Texts as sources and editors, as a user of `reenact run` meets them: the real program, the real
// server, the demo bundle with its own portrait and driving clip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/reenactd_under_test.h"
#include "tests/e2e/whole_jobs.h"

namespace reenact::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kFrames = 8;

class TextTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    OutputOf({"ffmpeg", "-v", "error", "-i", REENACT_SOURCE_DIR "/demo/driving.mp4", "-an",
              "-frames:v", absl::StrCat(kFrames), "-c:v", "libx264", Driving()});
    auto server = ReenactdUnderTest::Start({});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
  }
  static void TearDownTestSuite() {
    delete std::exchange(server_, nullptr);
    delete std::exchange(folder_, nullptr);
  }
  void SetUp() override { ASSERT_NE(server_, nullptr) << "reenactd did not start"; }
  void TearDown() override { EXPECT_TRUE(server_ == nullptr || server_->Running()); }

  static std::string Driving() { return folder_->File("driving.mp4"); }
  static std::vector<std::string> Portrait() {
    return {"--source", REENACT_SOURCE_DIR "/demo/portrait.png"};
  }

  // Of `reenact run` with few steps.
  struct Result {
    int exit_code = -1;
    std::string video;       // the file's bytes
    nlohmann::json summary;  // null: the job failed
    std::string err;
  };
  static Result Run(const std::vector<std::string>& source,
                    const std::vector<std::string>& more = {}) {
    const std::string out = folder_->File("out.mp4");
    std::filesystem::remove(out);
    std::vector<std::string> command = {REENACT_PROGRAM, "run",     "--server", server_->target(),
                                        "--driving",     Driving(), "-o",       out,
                                        "--steps",       "2",       "--json"};
    command.insert(command.end(), source.begin(), source.end());
    command.insert(command.end(), more.begin(), more.end());
    Subprocess program(command);
    Result result;
    result.exit_code = program.Wait(absl::Minutes(2));
    result.err = program.err();
    if (result.exit_code == 0) {
      result.video = ReadFile(out);
      result.summary = nlohmann::json::parse(program.out())["summary"];
      EXPECT_EQ(FrameTimes(out), FrameTimes(Driving()));
      EXPECT_EQ(result.summary["frames_out"], absl::StrCat(kFrames));
    } else {
      EXPECT_FALSE(std::filesystem::exists(out));
    }
    return result;
  }
  // Of a run that must succeed.
  static std::string VideoOf(const std::vector<std::string>& source,
                             const std::vector<std::string>& more = {}) {
    const Result result = Run(source, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.video;
  }

  static TemporaryFolder* folder_;
  static ReenactdUnderTest* server_;
};

TemporaryFolder* TextTest::folder_ = nullptr;
ReenactdUnderTest* TextTest::server_ = nullptr;

TEST_F(TextTest, ATextAloneMakesAVideo) {
  const std::string fair = VideoOf({"--text", "a woman with fair skin"});
  const std::string dark = VideoOf({"--text", "a woman with dark brown skin"});
  const std::string again = VideoOf({"--text", "a woman with fair skin"});

  EXPECT_FALSE(fair.empty());
  EXPECT_TRUE(fair != dark) << "the text changes nothing";
  EXPECT_TRUE(fair == again);
}

TEST_F(TextTest, ATextBesideAPictureIsWeighed) {
  const std::vector<std::string> text = {"--text", "a woman with dark brown skin"};
  const auto with_strength = [&](const char* strength) {
    std::vector<std::string> more = text;
    more.insert(more.end(), {"--strength", strength});
    return VideoOf(Portrait(), more);
  };
  const std::string plain = VideoOf(Portrait());
  const std::string by_default = VideoOf(Portrait(), text);

  EXPECT_TRUE(by_default != plain) << "the text changes nothing";
  EXPECT_TRUE(with_strength("0") == plain) << "it counts for nothing";
  EXPECT_TRUE(with_strength("0.5") == by_default);
  EXPECT_TRUE(with_strength("1") != by_default);
}

TEST_F(TextTest, AnEditChangesThePicture) {
  const auto edited = [](const char* edit, const char* strength) {
    return VideoOf(Portrait(), {"--edit", edit, "--strength", strength});
  };
  const std::string darker = edited("fair skin => dark brown skin", "0.7");
  const std::string fairer = edited("dark brown skin => fair skin", "0.7");
  const std::string much_darker = edited("fair skin => dark brown skin", "1");
  const std::set<std::string> videos = {VideoOf(Portrait()), darker, fairer, much_darker};

  EXPECT_EQ(videos.size(), 4u) << "two of them are the same";
  EXPECT_TRUE(edited("fair skin => fair skin", "1") == VideoOf(Portrait()))
      << "nothing was to change";
}

TEST_F(TextTest, WhatIsBeyondTheTokensIsLeftOutAndSaid) {
  // A token each and 77 in all, two of which are the marks of beginning and end.
  std::string words;
  for (int i = 0; i < 100; ++i) words += "a ";
  const Result first = Run({"--text", words + "woman with fair skin"});
  const Result second = Run({"--text", words + "man with dark brown skin"});
  const Result edit = Run(Portrait(), {"--edit", words + "=> " + words});
  const Result fitting = Run({"--text", words.substr(0, 2 * 75)});

  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(
      first.summary["notes"].get<std::vector<std::string>>(),
      ElementsAre("source.text is longer than the model's 77 tokens, its end was left out"));
  EXPECT_THAT(first.err, HasSubstr("note: source.text is longer than the model's 77 tokens"));
  EXPECT_TRUE(first.video == second.video) << "they differ only in what is left out";
  ASSERT_EQ(edit.exit_code, 0) << edit.err;
  EXPECT_THAT(edit.err, AllOf(HasSubstr("source.edit.from is longer than the model's 77 tokens"),
                              HasSubstr("source.edit.to is longer than the model's 77 tokens")));
  ASSERT_EQ(fitting.exit_code, 0) << fitting.err;
  EXPECT_THAT(fitting.summary["notes"].get<std::vector<std::string>>(), IsEmpty());
}

TEST_F(TextTest, WrongTextsAreRefusedByName) {
  struct Case {
    const char* name;
    std::vector<std::string> arguments;
    std::vector<std::string> messages;
  };
  std::vector<std::string> portrait = Portrait();
  const auto with_portrait = [&](std::vector<std::string> more) {
    more.insert(more.end(), portrait.begin(), portrait.end());
    return more;
  };
  const Case cases[] = {
      {"nothing", {}, {"there is no source: give --source, --text or both"}},
      {"empty", {"--text", ""}, {"--text: the text is empty"}},
      {"white", with_portrait({"--text", " \t"}), {"--text: the text is empty"}},
      {"long",
       {"--text", std::string(1001, 'a')},
       {"source.text has 1001 bytes, must have at most 1000", "--text"}},
      {"edit of nothing", {"--edit", "fair skin => dark skin"}, {"give --source"}},
      {"edit of a text",
       {"--text", "a woman", "--edit", "fair skin => dark skin"},
       {"source.edit is set, must be unset without a picture", "--edit"}},
      {"edit beside a text",
       with_portrait({"--text", "a woman", "--edit", "fair skin => dark skin"}),
       {"source.edit is set, must be unset beside source.text", "--edit"}},
      {"edit from nothing",
       with_portrait({"--edit", " => dark skin"}),
       {"source.edit.from has 0 bytes, must have 1 to 1000", "--edit"}},
      {"edit to nothing",
       with_portrait({"--edit", "fair skin =>"}),
       {"source.edit.to has 0 bytes, must have 1 to 1000", "--edit"}},
      {"no edit", with_portrait({"--edit", "fair skin"}), {"FROM => TO"}},
      {"too strong",
       with_portrait({"--text", "a woman", "--strength", "1.5"}),
       {"source.edit_strength is 1.5, must be 0 to 1", "--strength"}},
      {"too weak",
       with_portrait({"--edit", "fair skin => dark skin", "--strength", "-0.5"}),
       {"source.edit_strength is -0.5, must be 0 to 1", "--strength"}},
      {"no number",
       with_portrait({"--edit", "fair skin => dark skin", "--strength", "nan"}),
       {"source.edit_strength is nan, must be 0 to 1", "--strength"}},
      {"strength of nothing",
       with_portrait({"--strength", "0.5"}),
       {"source.edit_strength is set, must be unset without a picture and a text or edit",
        "--strength"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Result result = Run(c.arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    for (const std::string& message : c.messages) EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_THAT(result.err, Not(HasSubstr("The driving video is")));
  }
}

}  // namespace
}  // namespace reenact::testing
