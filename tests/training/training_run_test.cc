#include "training/training_run.h"

#include <cmath>

#include "pipeline/weights/safetensors.h"
#include "tests/training/tiny_data.h"

namespace reenact {
namespace {

using testing::FreshFolder;

// Counts its steps; nothing to learn.
class Counter : public Trainee {
 public:
  explicit Counter(std::string description = "counter") : description_(std::move(description)) {}
  StepResult Step(int64_t step, double) override {
    ++steps;
    return {loss, static_cast<double>(step), 0};
  }
  std::vector<std::pair<std::string, double>> Evaluate() override { return {{"steps", steps}}; }
  void Save(TensorMap& tensors) const override { tensors["steps"] = torch::tensor(steps); }
  absl::Status Load(const TensorMap& tensors) override {
    steps = tensors.at("steps").item<int>();
    return absl::OkStatus();
  }
  std::string Description() const override { return description_; }

  int steps = 0;
  double loss = 1;

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

TEST(RunTrainingTest, AnotherModelsCheckpointIsRefused) {
  const std::string folder = FreshFolder();
  std::ostringstream log;
  Counter first("small"), second("large");
  ASSERT_TRUE(RunTraining(Options(folder, 1), first, log).ok());

  const auto summary = RunTraining(Options(folder, 2), second, log);

  EXPECT_EQ(summary.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(RunTrainingTest, LossThatStaysNotFiniteEndsTheRun) {
  std::ostringstream log;
  Counter trainee;
  trainee.loss = NAN;

  const auto summary = RunTraining(Options(FreshFolder(), 1'000'000), trainee, log);

  EXPECT_EQ(summary.status().code(), absl::StatusCode::kInternal);
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
