// reenact-eval as a user meets it: what it prints, how it fails.
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/weights/safetensors.h"
#include "tests/client/subprocess.h"
#include "tests/support/paths.h"
#include "torch/torch.h"

namespace reenact {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using testing::Subprocess;
using testing::TemporaryFolder;

constexpr char kDemo[] = REENACT_SOURCE_DIR "/demo";
constexpr char kFaceModels[] = REENACT_SOURCE_DIR "/.deps/mediapipe";

struct Result {
  int exit_code = -1;
  std::string out, err;
};

Result Eval(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), REENACT_EVAL_PROGRAM);
  Subprocess process(arguments, {{"OMP_NUM_THREADS", "1"}});
  Result result;
  result.exit_code = process.Wait();
  result.out = process.out();
  result.err = process.err();
  return result;
}

class EvalToolTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(EvalToolTest, SaysWhatIsWrongWithTheUsage) {
  const struct {
    std::vector<std::string> arguments;
    const char* message;
  } cases[] = {
      {{}, "--bundle is required"},
      {{"--unknown"}, "unknown"},
      {{"--bundle", kDemo, "--clips", "0"}, "Value 0 not in range"},
      {{"--bundle", kDemo, "--frames", "1"}, "Value 1 not in range"},
      {{"--bundle", kDemo, "--methods", "best"}, "methods is \"best\", must be one of anchored"},
      {{"--bundle", kDemo, "--protocols", "self"}, "protocols is \"self\", must be one of same"},
      {{"--bundle", kDemo, "--plan", "x"}, "plan is \"x\", must be one of central-random"},
      {{"--bundle", kDemo, "--variety", "x"}, "variety is \"x\", must be one of plain, rich"},
      {{"--bundle", kDemo, "--sampler", "x"}, "x"},
      {{"--bundle", "/nowhere"}, "/nowhere"},
      {{"figures", "--bundle", "/nowhere"}, "/nowhere"},
      {{"figures", "--bundle", kDemo, "--only", "figure6"}, "figure6"},
      {{"frechet", "--real", "/nowhere", "--generated", "/nowhere"}, "/nowhere"},
  };
  for (const auto& test : cases) {
    const Result result = Eval(test.arguments);
    EXPECT_EQ(result.exit_code, 2) << test.message << result.err;
    EXPECT_THAT(result.err, HasSubstr(test.message));
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(EvalToolTest, HelpNamesTheCommands) {
  const Result result = Eval({"--help"});

  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, AllOf(HasSubstr("--bundle"), HasSubstr("figures"), HasSubstr("frechet"),
                                HasSubstr("texts"), HasSubstr("Exit codes")));
}

TEST_F(EvalToolTest, ComparesFeaturesFromFiles) {
  // Two points each: mean 0 and variance 2; mean 3 and variance 8 (ddof 1). 9 + (sqrt 8 - sqrt
  // 2)^2.
  const std::string real = folder_.File("real.safetensors"),
                    generated = folder_.File("generated.safetensors");
  ASSERT_TRUE(WriteSafetensors(real, {{"features", torch::tensor({{-1.0f}, {1.0f}})}}, {}).ok());
  ASSERT_TRUE(
      WriteSafetensors(generated, {{"features", torch::tensor({{1.0f}, {5.0f}})}}, {}).ok());

  const Result result = Eval({"frechet", "--real", real, "--generated", generated});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "11.000000\n");

  const Result missing =
      Eval({"frechet", "--real", real, "--generated", generated, "--tensor", "pool3"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("has no tensor \"pool3\""));
}

TEST_F(EvalToolTest, MeasuresTheDemoBundle) {
  if (!std::ifstream(std::string(kFaceModels) + "/face_detection_short_range.tflite")) {
    if (testing::MustHaveData()) FAIL() << "the face models are not there";
    GTEST_SKIP() << "the face models are not there";
  }
  const Result too_many =
      Eval({"--bundle", kDemo, "--face-models", kFaceModels, "--num-steps", "999"});
  EXPECT_EQ(too_many.exit_code, 2);
  EXPECT_THAT(too_many.err, HasSubstr("--num-steps is 999, must be 2..100"));
  const std::string out = folder_.File("results");
  const std::vector<std::string> arguments = {
      "--bundle", kDemo, "--face-models", kFaceModels,  "--quick", "--clips", "2", "--frames", "4",
      "--people", "4",   "--protocols",   "same,cross", "--out",   out};

  const Result result = Eval(arguments);

  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("2 clips of 4 frames"), HasSubstr("same anchored"),
                                HasSubstr("cross anchored"), HasSubstr("true frames"),
                                HasSubstr("autoencoder"), HasSubstr("Self-CSIM")));
  // The true frames differ from the truth by nothing, and their faces are found.
  EXPECT_THAT(result.out, ContainsRegex("SSIM[^\n]*1\\.000"));
  EXPECT_THAT(result.err, HasSubstr("2 of 2 clips"));
  EXPECT_EQ(testing::ReadFile(out + "/results.md"), result.out);
  const std::string csv = testing::ReadFile(out + "/clips.csv");
  EXPECT_THAT(csv, AllOf(HasSubstr("variant,clip,frames,found,"), HasSubstr("\nsame anchored,1,4,"),
                         HasSubstr("\nautoencoder,0,4,")));
  for (const char* name : {"same-anchored", "cross-anchored", "true-frames", "autoencoder"}) {
    EXPECT_TRUE(DecodeImage(testing::ReadFile(absl::StrCat(out, "/", name, ".png"))).ok()) << name;
  }
}

TEST_F(EvalToolTest, MeasuresWhatTextsChange) {
  if (!std::ifstream(std::string(kFaceModels) + "/face_detection_short_range.tflite")) {
    if (testing::MustHaveData()) FAIL() << "the face models are not there";
    GTEST_SKIP() << "the face models are not there";
  }
  const std::string out = folder_.File("texts");

  const Result result = Eval({"texts", "--bundle", kDemo, "--face-models", kFaceModels, "--clips",
                              "3", "--jobs", "2", "--out", out});

  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("3 of 3 people"));
  EXPECT_EQ(testing::ReadFile(out + "/texts.md"), result.out);
  // The demo bundle shows most of a background that is asked for.
  const std::string csv = testing::ReadFile(out + "/texts.csv");
  EXPECT_THAT(csv, ContainsRegex("\nglasses,.*\nhair,.*\nshirt,.*\nbackground,"));
  const size_t background = csv.find("\nbackground,");
  ASSERT_NE(background, std::string::npos) << csv;
  EXPECT_GT(std::stod(csv.substr(background + 12)), 0.3) << csv;
}

TEST_F(EvalToolTest, AStoppedRunGoesOnWhereItWas) {
  if (!std::ifstream(std::string(kFaceModels) + "/face_detection_short_range.tflite")) {
    if (testing::MustHaveData()) FAIL() << "the face models are not there";
    GTEST_SKIP() << "the face models are not there";
  }
  const auto arguments = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> all = {"--bundle",
                                    kDemo,
                                    "--face-models",
                                    kFaceModels,
                                    "--quick",
                                    "--frames",
                                    "2",
                                    "--people",
                                    "3",
                                    "--jobs",
                                    "1",
                                    "--num-steps",
                                    "2",
                                    "--protocols",
                                    "same",
                                    "--out",
                                    folder_.File(out)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Result whole = Eval(arguments("whole", {"--clips", "3"}));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;

  const Result first = Eval(arguments("parts", {"--clips", "2"}));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  // Killed while it wrote the second clip.
  const std::string journal = folder_.File("parts/clips.jsonl");
  const std::string content = testing::ReadFile(journal);
  std::ofstream(journal, std::ios::binary | std::ios::trunc)
      << content.substr(0, content.size() - 20);
  const Result rest = Eval(arguments("parts", {"--clips", "3"}));

  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_THAT(rest.err, HasSubstr(absl::StrCat("1 of 3 clips are in ", journal)));
  EXPECT_EQ(rest.out, whole.out);
  for (const char* name : {"results.md", "clips.csv", "clips.jsonl", "same-anchored.png",
                           "true-frames.png", "autoencoder.png"}) {
    EXPECT_EQ(testing::ReadFile(folder_.File(absl::StrCat("parts/", name))),
              testing::ReadFile(folder_.File(absl::StrCat("whole/", name))))
        << name;
  }

  // What is there is not measured again, and nothing else is taken for it.
  const Result again = Eval(arguments("whole", {"--clips", "3"}));
  EXPECT_EQ(again.out, whole.out);
  EXPECT_THAT(again.err, ::testing::Not(HasSubstr("embedding the portraits")));
  const Result other = Eval(arguments("whole", {"--clips", "3", "--seed", "2"}));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, AllOf(HasSubstr("clips.jsonl was begun with other settings"),
                               HasSubstr("noise seed was 1, is 2")));
  EXPECT_EQ(other.out, "");
}

TEST_F(EvalToolTest, AStoppedFigureGoesOnWhereItWas) {
  if (!std::ifstream(std::string(kFaceModels) + "/face_detection_short_range.tflite")) {
    if (testing::MustHaveData()) FAIL() << "the face models are not there";
    GTEST_SKIP() << "the face models are not there";
  }
  const auto arguments = [&](const std::string& out, const std::string& clips) {
    return std::vector<std::string>{"figures",
                                    "--only",
                                    "figure5",
                                    "--bundle",
                                    kDemo,
                                    "--face-models",
                                    kFaceModels,
                                    "--frames",
                                    "5",
                                    "--jobs",
                                    "1",
                                    "--num-steps",
                                    "2",
                                    "--clips",
                                    clips,
                                    "--out",
                                    folder_.File(out),
                                    "--methods",
                                    "anchored:contiguous,independent"};
  };
  const Result whole = Eval(arguments("whole", "2"));
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.out, AllOf(HasSubstr("2 clips driven by their own person"),
                               ContainsRegex("anchored:contiguous +\\| 0\\.[0-9]+ \\+- 0\\.[0-9]+"),
                               HasSubstr("Self-CSIM less that of anchored:contiguous"),
                               HasSubstr("below all windows, holds at frames:")));

  ASSERT_EQ(Eval(arguments("parts", "1")).exit_code, 0);
  const Result rest = Eval(arguments("parts", "2"));

  EXPECT_THAT(rest.err, HasSubstr("1 of 2 clips are in "));
  EXPECT_EQ(rest.out, whole.out);
  for (const char* name : {"figures.md", "figure5.csv", "figure5.jsonl", "figure5.png"}) {
    EXPECT_EQ(testing::ReadFile(folder_.File(absl::StrCat("parts/", name))),
              testing::ReadFile(folder_.File(absl::StrCat("whole/", name))))
        << name;
  }
}

}  // namespace
}  // namespace reenact
