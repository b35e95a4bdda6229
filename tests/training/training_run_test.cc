#include "training/training_run.h"

#include <sys/resource.h>

#include <cmath>
#include <csignal>

#include "pipeline/media/image_codec.h"
#include "pipeline/weights/safetensors.h"
#include "tests/training/tiny_data.h"

namespace reenact {
namespace {

using testing::FreshFolder;

// Counts its steps; nothing to learn.
class Counter : public Trainee {
 public:
  explicit Counter(std::string description = "counter") : description_(std::move(description)) {}
  absl::StatusOr<StepResult> Step(int64_t step, double) override {
    ++steps;
    if (step >= bad_from) return StepResult{NAN, 0, 0, {41, 42}};
    return StepResult{loss, static_cast<double>(step), 0, {}};
  }
  std::vector<std::pair<std::string, double>> Evaluate() override { return {{"steps", steps}}; }
  std::vector<std::vector<torch::Tensor>> Samples() override {
    return {{torch::full({3, 4, 4}, steps, torch::kUInt8)}};
  }
  void Save(TensorMap& tensors) const override {
    tensors["steps"] = torch::tensor(steps);
    tensors["payload"] = torch::zeros({payload});
  }
  absl::Status Load(const TensorMap& tensors) override {
    steps = tensors.at("steps").item<int>();
    return absl::OkStatus();
  }
  std::string Description() const override { return description_; }

  int steps = 0;
  double loss = 1;
  int64_t bad_from = 1'000'000'000;
  int64_t payload = 1;  // numbers in the checkpoint

 private:
  const std::string description_;
};

RunOptions Options(const std::string& folder, int64_t steps) {
  RunOptions options;
  options.out = folder;
  options.steps = steps;
  options.log_every = 1;
  return options;
}

TEST(RunTrainingTest, GoesOnWhereTheLastRunEnded) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter first, second;
  ASSERT_TRUE(RunTraining(Options(folder, 5), first, log).ok());

  const auto summary = RunTraining(Options(folder, 8), second, log);

  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->step, 8);
  EXPECT_EQ(second.steps, 8);
  EXPECT_EQ(testing::LossColumn(folder).size(), 8u);
}

TEST(RunTrainingTest, RowsBeyondTheCheckpointAreWrittenOnce) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter first, second;
  ASSERT_TRUE(RunTraining(Options(folder, 3), first, log).ok());
  std::ofstream(folder + "/loss.csv", std::ios::app) << "4,9.9,1,0,0\n";  // killed after step 4

  ASSERT_TRUE(RunTraining(Options(folder, 5), second, log).ok());

  EXPECT_EQ(testing::LossColumn(folder),
            (std::vector<std::string>{"1:1", "2:1", "3:1", "4:1", "5:1"}));
}

TEST(RunTrainingTest, StopLeavesACheckpoint) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  std::atomic<bool> stop{true};
  Counter trainee;
  RunOptions options = Options(folder, 5);
  options.stop = &stop;

  const auto summary = RunTraining(options, trainee, log);

  ASSERT_TRUE(summary.ok());
  EXPECT_FALSE(summary->finished);
  EXPECT_EQ(trainee.steps, 0);
  EXPECT_TRUE(ReadSafetensors(folder + "/checkpoint.safetensors").ok());
}

TEST(RunTrainingTest, AnotherModelsCheckpointIsRefusedWithTheTensorsThatDiffer) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter first("small"), second("large");
  first.payload = 2;
  second.payload = 3;
  ASSERT_TRUE(RunTraining(Options(folder, 1), first, log).ok());

  const auto summary = RunTraining(Options(folder, 2), second, log);

  EXPECT_EQ(summary.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(summary.status().message()),
              ::testing::AllOf(::testing::HasSubstr("small instead of large"),
                               ::testing::HasSubstr("payload is [2] there and [3] here"),
                               ::testing::Not(::testing::HasSubstr("steps is"))));
}

TEST(RunTrainingTest, LossThatIsNotANumberStopsWithStepAndPeople) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter trainee, next;
  trainee.bad_from = 7;
  RunOptions options = Options(folder, 1'000'000);
  options.checkpoint_minutes = 0;  // after every step

  const auto summary = RunTraining(options, trainee, log);

  EXPECT_EQ(summary.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(summary.status().message()),
              ::testing::AllOf(::testing::HasSubstr("step 7 is nan"),
                               ::testing::HasSubstr("seeds 41, 42")));
  // What was learned before is still there.
  ASSERT_TRUE(RunTraining(Options(folder, 8), next, log).ok());
  EXPECT_EQ(next.steps, 8);
}

// The kernel refuses to let a file grow, as a full disk does.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

TEST(RunTrainingTest, FullDiskAtACheckpointKeepsTheOldOne) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter first, second, third;
  first.payload = second.payload = third.payload = 1 << 18;
  ASSERT_TRUE(RunTraining(Options(folder, 3), first, log).ok());

  absl::Status status;
  {
    FullDisk full(1 << 18);
    status = RunTraining(Options(folder, 6), second, log).status();
  }

  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("File too large"));
  const auto kept = ReadSafetensors(folder + "/checkpoint.safetensors");
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->metadata.at("step"), "3");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_THAT(entry.path().string(), ::testing::Not(::testing::HasSubstr(".tmp")));
  }
  ASSERT_TRUE(RunTraining(Options(folder, 6), third, log).ok());
  EXPECT_EQ(third.steps, 6);
}

TEST(RunTrainingTest, DrawsTheLossCurveAndSamples) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter trainee;
  RunOptions options = Options(folder, 5);
  options.sample_every = 2;

  ASSERT_TRUE(RunTraining(options, trainee, log).ok());

  std::ifstream curve(folder + "/loss.png", std::ios::binary);
  std::ostringstream bytes;
  bytes << curve.rdbuf();
  const auto picture = DecodeImage(bytes.str());
  ASSERT_TRUE(picture.ok());
  EXPECT_GE(picture->width, 300);
  EXPECT_TRUE(std::filesystem::exists(folder + "/samples/step-00000002.png"));
  EXPECT_TRUE(std::filesystem::exists(folder + "/samples/step-00000004.png"));
}

TEST(RunTrainingTest, NeedsABound) {
  std::ostringstream log;
  Counter trainee;

  EXPECT_EQ(RunTraining(Options(FreshFolder(), 0), trainee, log).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LearningRateTest, WarmsUpHoldsAndFalls) {
  EXPECT_DOUBLE_EQ(LearningRate(1, 0, 10, 0, 0.5, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(1, 20, 10, 0.5, 0.5, 0.1), 1);
  EXPECT_DOUBLE_EQ(LearningRate(1, 20, 10, 0.75, 0.5, 0.1), 0.55);
  EXPECT_DOUBLE_EQ(LearningRate(1, 20, 10, 1, 0.5, 0.1), 0.1);
}

}  // namespace
}  // namespace reenact
