// Small inputs for the training tests, and what they all need.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "training/data_cache.h"
#include "training/training_run.h"

namespace reenact::testing {

// Tiny tensors gain nothing from threads, and on a busy machine waiting threads cost minutes.
inline const bool kOneThread = [] {
  torch::set_num_threads(1);
  return true;
}();

// An empty folder of its own for the running test case.
inline std::string FreshFolder() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string path =
      ::testing::TempDir() + "/reenact_" + info->test_suite_name() + "_" + info->name();
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

// 6 people, 6 frames of 32 pixels.
inline DataOptions TinyDataOptions(const std::string& folder) {
  DataOptions options;
  options.out = folder;
  options.people = 6;
  options.frames = 6;
  options.size = 32;
  options.supersampling = 1;
  options.lookalikes = 1;
  options.captions = 2;
  return options;
}

// Drawn once per test program.
inline const DataCache& TinyData() {
  static const DataCache* const kData = [] {
    const std::string folder = ::testing::TempDir() + "/reenact_tiny_data_" +
                               std::to_string(::testing::UnitTest::GetInstance()->random_seed()) +
                               "_" + std::to_string(::getpid());
    std::ostringstream log;
    const absl::Status status = WriteDataCache(TinyDataOptions(folder), log);
    if (!status.ok()) throw std::runtime_error(status.ToString());
    auto data = ReadDataCache(folder);
    if (!data.ok()) throw std::runtime_error(data.status().ToString());
    std::filesystem::remove_all(folder);
    return new DataCache(*std::move(data));
  }();
  return *kData;
}

inline std::vector<double> TrainSteps(Trainee& trainee, int64_t first, int64_t count,
                                      int64_t total) {
  std::vector<double> losses;
  for (int64_t step = first; step < first + count; ++step) {
    const auto result = trainee.Step(step, static_cast<double>(step) / static_cast<double>(total));
    if (!result.ok()) throw std::runtime_error(result.status().ToString());
    losses.push_back(result->loss);
  }
  return losses;
}

inline double Mean(const std::vector<double>& values, size_t first, size_t count) {
  double sum = 0;
  for (size_t i = first; i < first + count; ++i) sum += values[i];
  return sum / static_cast<double>(count);
}

// The losses of a run, one per row of its loss.csv.
inline std::vector<std::string> LossColumn(const std::string& folder) {
  std::ifstream in(folder + "/loss.csv");
  std::vector<std::string> losses;
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream cells(line);
    std::string step, seconds, loss;
    std::getline(cells, step, ',');
    std::getline(cells, seconds, ',');
    std::getline(cells, loss, ',');
    losses.push_back(step + ":" + loss);
  }
  return losses;
}

// The gradients of parameters, by name; they are taken away.
inline TensorMap TakeGradients(const std::vector<NamedParameter>& parameters) {
  TensorMap gradients;
  for (const NamedParameter& parameter : parameters) {
    torch::Tensor tensor = parameter.tensor;
    if (!tensor.grad().defined()) continue;
    gradients[parameter.name] = tensor.grad().clone();
    tensor.mutable_grad().reset();
  }
  return gradients;
}

// Equal but for the order of summation.
inline void ExpectSameGradients(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  double largest = 0, difference = 0;
  for (const auto& [name, tensor] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    largest = std::max(largest, tensor.abs().max().item<double>());
    difference = std::max(difference, (tensor - b.at(name)).abs().max().item<double>());
  }
  EXPECT_GT(largest, 1e-3);
  EXPECT_LT(difference, 1e-5 * largest);
}

// Ends the run at step `stop_at`, as SIGTERM would.
class StoppingTrainee : public Trainee {
 public:
  StoppingTrainee(Trainee& inner, int64_t stop_at, std::atomic<bool>& stop)
      : inner_(inner), stop_at_(stop_at), stop_(stop) {}
  absl::StatusOr<StepResult> Step(int64_t step, double progress) override {
    if (step + 1 == stop_at_) stop_ = true;
    return inner_.Step(step, progress);
  }
  std::vector<std::pair<std::string, double>> Evaluate() override { return inner_.Evaluate(); }
  void Save(TensorMap& tensors) const override { inner_.Save(tensors); }
  absl::Status Load(const TensorMap& tensors) override { return inner_.Load(tensors); }
  std::string Description() const override { return inner_.Description(); }

 private:
  Trainee& inner_;
  const int64_t stop_at_;
  std::atomic<bool>& stop_;
};

// Trains `total` steps in one go, and again with a stop after `stop_at` and a fresh trainee that
// goes on from the checkpoint. `make()` builds equal trainees. The printed losses must be equal to
// the last of their nine digits.
template <typename Make>
void ExpectExactResume(const Make& make, int64_t stop_at, int64_t total) {
  const std::string whole = FreshFolder() + "/whole", parts = FreshFolder() + "/parts";
  std::ostringstream log;
  RunOptions options;
  options.out = whole;
  options.steps = total;
  options.log_every = 1;
  options.evaluate_minutes = 0;

  auto uninterrupted = make();
  ASSERT_TRUE(RunTraining(options, *uninterrupted, log).ok());
  options.out = parts;
  std::atomic<bool> stop{false};
  options.stop = &stop;
  auto first = make();
  StoppingTrainee stopping(*first, stop_at, stop);
  const auto stopped = RunTraining(options, stopping, log);
  ASSERT_TRUE(stopped.ok());
  EXPECT_FALSE(stopped->finished);
  EXPECT_EQ(stopped->step, stop_at);
  stop = false;
  auto second = make();
  const auto finished = RunTraining(options, *second, log);

  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_TRUE(finished->finished);
  EXPECT_EQ(LossColumn(whole).size(), static_cast<size_t>(total));
  EXPECT_EQ(LossColumn(parts), LossColumn(whole));
}

}  // namespace reenact::testing
