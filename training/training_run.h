// The loop around every training: progress lines, loss table, checkpoints, exact resume, stopping.
//
// In the output folder:
//   checkpoint.safetensors  everything needed to go on; replaced atomically
//   loss.csv                step,seconds,loss,learning_rate,gradient_norm; one row per log interval
//   metrics.csv             step,seconds,name,value; one row per metric and evaluation
//   loss.png                the loss over the steps, drawn anew at every checkpoint
//   samples/step-N.png      what the network makes at step N, if asked for
//   events.out.tfevents.*   all of this for TensorBoard; one file per start
// Of several processes only the first writes files.
// Runs on the calling thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "training/optimizer.h"
#include "training/processes.h"

namespace reenact {

struct RunOptions {
  std::string out;                // output folder, created if absent
  int64_t steps = 0;              // end after this many steps; 0: no bound
  double minutes = 0;             // end after this much time, resumed runs added up; 0: no bound
  double checkpoint_minutes = 2;  // between checkpoints
  double evaluate_minutes = 5;    // between evaluations; 0: none, not even at the end
  int64_t log_every = 50;         // steps between progress lines
  int64_t sample_every = 0;       // steps between sheets of samples; 0: none
  uint64_t seed = 1;
  const std::atomic<bool>* stop = nullptr;  // when it turns true: checkpoint and return
  Processes* processes = nullptr;           // null: this one alone
};

// What is trained. Random numbers drawn by Step() are a function of the seed and the step alone, so
// a resumed run repeats exactly what an uninterrupted one does.
class Trainee {
 public:
  struct StepResult {
    double loss = 0;
    double learning_rate = 0;
    double gradient_norm = 0;
    std::vector<uint64_t> seeds = {};  // the people the step was trained on, as far as known
  };

  virtual ~Trainee() = default;

  // Steps count from 0. `progress` in [0, 1] says how much of the run is done: by steps where they
  // bound the run, else by time (then a resumed run is not bit-equal, as its clock differs).
  // kUnavailable: another process is gone.
  virtual absl::StatusOr<StepResult> Step(int64_t step, double progress) = 0;
  virtual std::vector<std::pair<std::string, double>> Evaluate() = 0;
  // Rows of uint8 [3,S,S] pictures to judge the training by; empty: there are none.
  virtual std::vector<std::vector<torch::Tensor>> Samples() { return {}; }
  // Weights, averages and optimizer state.
  virtual void Save(TensorMap& tensors) const = 0;
  virtual absl::Status Load(const TensorMap& tensors) = 0;
  // The architecture and options a checkpoint must agree with, as text.
  virtual std::string Description() const = 0;
};

struct RunSummary {
  int64_t step = 0;       // steps done, earlier runs included
  double seconds = 0;     // time spent, likewise
  bool finished = false;  // false: stopped by `stop`
  // The training record of the run whose weights this one began from; null: it began from none.
  nlohmann::json started_from = nullptr;
};

// Trains until a bound is reached, going on from the checkpoint in the output folder if there is
// one. The checkpoint before stays whole whatever goes wrong. kFailedPrecondition: the checkpoint
// belongs to another architecture, with the tensors that differ; kInternal: the loss is not finite,
// with the step and the people in its batch; kUnavailable: another process is gone. A file that
// cannot be written ends the run too, with the code of the system's reason.
absl::StatusOr<RunSummary> RunTraining(const RunOptions& options, Trainee& trainee,
                                       std::ostream& log);

// base rate: a linear warm-up of `warmup_steps`, constant until progress `decay_from`, then a
// cosine to `final_ratio` of it.
double LearningRate(double base, int64_t step, int64_t warmup_steps, double progress,
                    double decay_from, double final_ratio);

// A well-mixed seed for step `step` of the stream `seed`.
uint64_t StepSeed(uint64_t seed, uint64_t step);

// N(0, 1), a function of the seed alone.
torch::Tensor RowNoise(uint64_t seed, at::IntArrayRef shape);

// Enables bfloat16 autocast on devices of the type of `device` while it lives, if `enabled`.
class AutocastScope {
 public:
  explicit AutocastScope(bool enabled, torch::Device device = torch::kCPU);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  const at::DeviceType type_;
  const bool before_;
};

}  // namespace reenact
