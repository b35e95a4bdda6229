#include "training/training_run.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <ostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

// Losses that are not finite in a row before a run gives up.
constexpr int kMaxBadLosses = 100;

// Drops the rows of a table whose step lies beyond `last_step`: they are about to be written again.
void TruncateTable(const std::string& path, const std::string& header, int64_t last_step) {
  std::vector<std::string> kept = {header};
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    int64_t step = 0;
    const std::vector<std::string> cells = absl::StrSplit(line, absl::MaxSplits(',', 1));
    if (absl::SimpleAtoi(cells[0], &step) && step <= last_step) kept.push_back(line);
  }
  in.close();
  std::ofstream out(path, std::ios::trunc);
  for (const std::string& row : kept) out << row << '\n';
}

struct Position {
  int64_t step = 0;
  double seconds = 0;
};

absl::StatusOr<Position> Resume(const std::string& path, Trainee& trainee) {
  auto file = ReadSafetensors(path);
  if (!file.ok()) return file.status();
  if (file->metadata["description"] != trainee.Description()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " was written by a run with other options: ", file->metadata["description"],
        " instead of ", trainee.Description()));
  }
  Position position;
  if (!absl::SimpleAtoi(file->metadata["step"], &position.step) ||
      !absl::SimpleAtod(file->metadata["seconds"], &position.seconds)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " does not say its step and time"));
  }
  if (absl::Status status = trainee.Load(file->tensors); !status.ok()) return status;
  return position;
}

absl::Status WriteCheckpoint(const std::string& path, const Trainee& trainee,
                             const Position& position) {
  TensorMap tensors;
  trainee.Save(tensors);
  for (auto& [name, tensor] : tensors) tensor = tensor.detach().contiguous();
  return WriteSafetensors(path, tensors,
                          {{"description", trainee.Description()},
                           {"step", absl::StrCat(position.step)},
                           {"seconds", absl::StrFormat("%.3f", position.seconds)}});
}

std::string TimeText(double seconds) {
  return absl::FormatDuration(absl::Seconds(std::max<int64_t>(0, std::llround(seconds))));
}

}  // namespace

absl::StatusOr<RunSummary> RunTraining(const RunOptions& options, Trainee& trainee,
                                       std::ostream& log) {
  if (options.steps <= 0 && options.minutes <= 0) {
    return absl::InvalidArgumentError("give a number of steps or minutes");
  }
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(options.out, ": ", error.message()));
  const std::string checkpoint = options.out + "/checkpoint.safetensors";

  Position start;
  if (std::filesystem::exists(checkpoint)) {
    auto resumed = Resume(checkpoint, trainee);
    if (!resumed.ok()) return resumed.status();
    start = *resumed;
    log << "going on from step " << start.step << std::endl;
  }
  TruncateTable(options.out + "/loss.csv", "step,seconds,loss,learning_rate,gradient_norm",
                start.step);
  TruncateTable(options.out + "/metrics.csv", "step,seconds,name,value", start.step);
  std::ofstream losses(options.out + "/loss.csv", std::ios::app);
  std::ofstream metrics(options.out + "/metrics.csv", std::ios::app);

  const absl::Time started = absl::Now();
  Position now = start;
  const auto seconds_spent = [&] {
    return start.seconds + absl::ToDoubleSeconds(absl::Now() - started);
  };
  const auto progress = [&] {
    if (options.steps > 0 && options.minutes <= 0) {
      return static_cast<double>(now.step) / static_cast<double>(options.steps);
    }
    const double by_time = now.seconds / (options.minutes * 60);
    if (options.steps <= 0) return std::min(1.0, by_time);
    return std::min(
        1.0, std::max(by_time, static_cast<double>(now.step) / static_cast<double>(options.steps)));
  };
  const auto evaluate = [&] {
    const absl::Time begun = absl::Now();
    std::string line;
    for (const auto& [name, value] : trainee.Evaluate()) {
      metrics << now.step << ',' << absl::StrFormat("%.1f", now.seconds) << ',' << name << ','
              << absl::StrFormat("%.6g", value) << '\n';
      absl::StrAppendFormat(&line, " %s %.4g", name, value);
    }
    metrics.flush();
    log << "step " << now.step << " evaluation:" << line << " ("
        << absl::StrFormat("%.1f s)", absl::ToDoubleSeconds(absl::Now() - begun)) << std::endl;
  };

  double last_checkpoint = start.seconds, last_evaluation = start.seconds;
  double window_loss = 0, window_begin = start.seconds;
  int64_t window_steps = 0;
  int bad_losses = 0;
  bool stopped = false;
  while (progress() < 1) {
    if (options.stop != nullptr && options.stop->load()) {
      stopped = true;
      break;
    }
    const Trainee::StepResult result = trainee.Step(now.step, progress());
    bad_losses = std::isfinite(result.loss) ? 0 : bad_losses + 1;
    if (bad_losses >= kMaxBadLosses) {
      return absl::InternalError(absl::StrCat("the loss has not been finite for ", kMaxBadLosses,
                                              " steps, up to step ", now.step));
    }
    ++now.step;
    now.seconds = seconds_spent();
    window_loss += result.loss;
    ++window_steps;
    if (now.step % options.log_every == 0) {
      const double elapsed = std::max(1e-9, now.seconds - window_begin);
      const double rate = static_cast<double>(window_steps) / elapsed;
      const double loss = window_loss / static_cast<double>(window_steps);
      double left = options.minutes > 0 ? options.minutes * 60 - now.seconds : 1e18;
      if (options.steps > 0) {
        left = std::min(left, static_cast<double>(options.steps - now.step) / rate);
      }
      losses << now.step << ','
             << absl::StrFormat("%.1f,%.9g,%.4g,%.4g", now.seconds, loss, result.learning_rate,
                                result.gradient_norm)
             << std::endl;
      log << absl::StrFormat("step %d loss %.5f lr %.2e |g| %.2f %.2f it/s, %s left", now.step,
                             loss, result.learning_rate, result.gradient_norm, rate, TimeText(left))
          << std::endl;
      window_loss = 0;
      window_steps = 0;
      window_begin = now.seconds;
    }
    if (now.seconds - last_checkpoint >= options.checkpoint_minutes * 60) {
      if (absl::Status status = WriteCheckpoint(checkpoint, trainee, now); !status.ok()) {
        return status;
      }
      last_checkpoint = now.seconds;
    }
    if (options.evaluate_minutes > 0 &&
        now.seconds - last_evaluation >= options.evaluate_minutes * 60) {
      evaluate();
      last_evaluation = now.seconds;
      window_begin = seconds_spent();
      window_loss = 0;
      window_steps = 0;
    }
  }
  if (absl::Status status = WriteCheckpoint(checkpoint, trainee, now); !status.ok()) return status;
  log << (stopped ? "stopped" : "finished") << " at step " << now.step << " after "
      << TimeText(now.seconds) << std::endl;
  if (!stopped && options.evaluate_minutes > 0) evaluate();
  return RunSummary{now.step, now.seconds, !stopped};
}

double LearningRate(double base, int64_t step, int64_t warmup_steps, double progress,
                    double decay_from, double final_ratio) {
  double rate = base;
  if (step < warmup_steps) {
    rate *= static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  if (progress > decay_from && decay_from < 1) {
    const double x = std::min(1.0, (progress - decay_from) / (1 - decay_from));
    rate *= final_ratio + (1 - final_ratio) * 0.5 * (1 + std::cos(std::numbers::pi * x));
  }
  return rate;
}

uint64_t StepSeed(uint64_t seed, uint64_t step) {
  // splitmix64 (Steele, Lea & Flood 2014) of the pair.
  uint64_t z = seed * 0x9E3779B97F4A7C15u + step + 0x632BE59BD9B4E019u;
  for (int round = 0; round < 2; ++round) {
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
  }
  return z;
}

AutocastScope::AutocastScope(bool enabled) : before_(at::autocast::is_autocast_enabled(at::kCPU)) {
  at::autocast::set_autocast_enabled(at::kCPU, enabled);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  // The cache holds bfloat16 copies of the weights, which the next optimizer step makes stale.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, before_);
}

}  // namespace reenact
