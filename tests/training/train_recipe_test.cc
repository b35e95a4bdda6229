// The whole recipe of the demo bundle, made small, by the real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Result {
  int code = -1;
  std::string output;
};

class TrainRecipeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result Train(const std::string& flags) const {
    const std::string log = folder_ + "/output.txt";
    const std::string command =
        std::string("OMP_NUM_THREADS=1 " REENACT_TRAIN " ") + flags + " > " + log + " 2>&1";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, Read(log)};
  }

  const std::string folder_ = ::testing::TempDir() + "/reenact_recipe_" +
                              ::testing::UnitTest::GetInstance()->current_test_info()->name() +
                              "_" + std::to_string(getpid());
};

TEST_F(TrainRecipeTest, TheDemosRecipeMakesABundleFromAnEmptyFolder) {
  const std::string flags = "--config " REENACT_SOURCE_DIR
                            "/demo/train.json --smoke --threads 1 --work " +
                            folder_ + "/work";

  const Result first = Train(flags);

  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_THAT(first.output, AllOf(HasSubstr("faces found in "), HasSubstr("autoencoder: loss "),
                                  HasSubstr("clip: loss "), HasSubstr("sdit: loss "),
                                  HasSubstr("bundle: demo-people in")));
  for (const char* file : {"bundle/bundle.json", "bundle/portrait.png", "bundle/driving.mp4",
                           "samples/self.png", "autoencoder/loss.png", "sdit/loss.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/work/" + file)) << file;
  }

  const std::string bundle = Read(folder_ + "/work/bundle/bundle.json");
  const Result second = Train(flags);

  EXPECT_EQ(second.code, 0) << second.output;
  EXPECT_THAT(second.output, HasSubstr("0 stages run"));
  EXPECT_EQ(Read(folder_ + "/work/bundle/bundle.json"), bundle);

  // Its network can be trained on, with other options of training but not another architecture.
  const std::string finer = "sdit --data " + folder_ + "/work/people --latents " + folder_ +
                            "/work/people.latents --autoencoder " + folder_ +
                            "/work/autoencoder --clip " + folder_ + "/work/clip --start-from " +
                            folder_ + "/work/sdit --minutes 0 --steps 2 --log-every 1 --width 96";
  const Result tuned =
      Train(finer + " --depth 2 --drop-source-tokens 0.4 --zero-terminal-snr --out " + folder_ +
            "/tuned");
  EXPECT_EQ(tuned.code, 0) << tuned.output;
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/tuned/sdit.safetensors"));
  const Result bundled =
      Train("bundle --autoencoder " + folder_ + "/work/autoencoder --clip " + folder_ +
            "/work/clip --sdit " + folder_ + "/tuned --out " + folder_ + "/tuned/bundle");
  EXPECT_EQ(bundled.code, 0) << bundled.output;
  EXPECT_THAT(Read(folder_ + "/tuned/bundle/bundle.json"),
              HasSubstr("\"name\": \"linear-zero-terminal-snr\""));
  const Result deeper = Train(finer + " --depth 3 --out " + folder_ + "/deeper");
  EXPECT_EQ(deeper.code, 1);
  EXPECT_THAT(deeper.output, HasSubstr("the run to start from trained"));
}

TEST_F(TrainRecipeTest, AnUnknownOptionIsNamedBeforeAnythingRuns) {
  const std::string config = folder_ + "/config.json";
  std::ofstream(config) << R"({"stages": [{"stage": "data", "options": {"out": "people"}},
      {"stage": "autoencoder", "options": {"data": "people", "out": "ae", "latent_chanels": 8}}]})";

  const Result result = Train("--config " + config + " --work " + folder_ + "/work");

  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, HasSubstr("unknown option \"latent_chanels\""));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/work/people"));
}

TEST_F(TrainRecipeTest, AFolderOfVideosIsCuratedAndTrainedOn) {
  const std::string models = REENACT_SOURCE_DIR "/.deps/mediapipe";
  if (!std::filesystem::exists(models + "/face_landmark_with_attention.tflite")) {
    GTEST_SKIP() << "the face models are not there";
  }
  std::filesystem::create_directories(folder_ + "/videos");
  for (const char* file : {"driving.mp4", "portrait.png"}) {
    std::filesystem::copy_file(std::string(REENACT_SOURCE_DIR "/demo/") + file,
                               folder_ + "/videos/" + file);
  }
  std::ofstream(folder_ + "/videos/driving.txt") << "somebody who talks\nsomebody who nods\n";
  std::ofstream(folder_ + "/videos/broken.mp4") << "no video at all";
  const std::string curate = "curate --videos " + folder_ + "/videos --out " + folder_ +
                             "/curated --face-models " + models +
                             " --min-face 120 --max-seconds 4 --size 64";

  const Result first = Train(curate);

  ASSERT_EQ(first.code, 0) << first.output;
  const std::string manifest = Read(folder_ + "/curated/manifest.json");
  EXPECT_THAT(manifest, AllOf(HasSubstr("\"files\": 3"), HasSubstr("broken.mp4"),
                              HasSubstr("\"identity_filter\": \"off")));
  EXPECT_THAT(first.output, AllOf(HasSubstr("broken.mp4: unreadable"), HasSubstr("1 unreadable")));
  for (const char* file : {"duration.png", "resolution.png", "face_ratio.png", "quality.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/curated/" + file)) << file;
  }

  const Result second = Train(curate);
  EXPECT_EQ(second.code, 0) << second.output;
  EXPECT_THAT(second.output, Not(HasSubstr("of 3: ")));  // nothing read anew
  EXPECT_EQ(Read(folder_ + "/curated/manifest.json"), manifest);

  const Result trained = Train("autoencoder --data " + folder_ + "/curated --out " + folder_ +
                               "/ae --channels 8,8,8,8 --groups 4 --crop 32 --batch 2 --minutes 0 "
                               "--steps 2");
  EXPECT_EQ(trained.code, 0) << trained.output;
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/ae/autoencoder.safetensors"));
}

TEST_F(TrainRecipeTest, NoFolderOfVideosIsAnError) {
  const Result result = Train("curate --videos " + folder_ + "/none --out " + folder_ + "/curated");

  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, HasSubstr("/none"));
}

TEST_F(TrainRecipeTest, ADeviceOrBackendThatIsNotThereIsAnErrorBeforeAnythingRuns) {
  const std::string data = "data --people 2 --size 32 --out " + folder_ + "/people";
  EXPECT_THAT(Train("--device tpu " + data).output, HasSubstr("device \"tpu\" is not cpu"));
  EXPECT_THAT(Train("--backend nccl " + data).output, HasSubstr("the backend nccl"));
  EXPECT_THAT(Train("--backend mpi " + data).output, HasSubstr("mpi"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/people"));
}

TEST_F(TrainRecipeTest, AStageOrARecipeIsNeeded) {
  const Result result = Train("");

  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.output, HasSubstr("give either a stage or --config"));
}

}  // namespace
