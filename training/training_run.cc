#include "training/training_run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numbers>
#include <ostream>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "eval/plot.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/weights/safetensors.h"
#include "training/atomic_file.h"
#include "training/contact_sheet.h"
#include "training/event_log.h"

namespace reenact {
namespace {

// Points of a loss curve's picture; of more rows the means of neighbours are drawn.
constexpr size_t kCurvePoints = 240;
constexpr char kLossHeader[] = "step,seconds,loss,learning_rate,gradient_norm";
constexpr char kMetricsHeader[] = "step,seconds,name,value";

// Drops the rows of a table whose step lies beyond `last_step`: they are about to be written again.
absl::Status TruncateTable(const std::string& path, const std::string& header, int64_t last_step) {
  std::string kept = header + "\n";
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    int64_t step = 0;
    const std::vector<std::string> cells = absl::StrSplit(line, absl::MaxSplits(',', 1));
    if (absl::SimpleAtoi(cells[0], &step) && step <= last_step) absl::StrAppend(&kept, line, "\n");
  }
  return WriteFileAtomically(path, kept);
}

struct Position {
  int64_t step = 0;
  double seconds = 0;
};

std::string ShapeText(const TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? "absent"
                                : absl::StrCat("[", absl::StrJoin(found->second.sizes(), ","), "]");
}

// The first few tensors that a checkpoint holds in another shape than the trainee has them; empty:
// none.
std::string DifferingTensors(const TensorMap& stored, const Trainee& trainee) {
  constexpr int kNamed = 4;
  TensorMap own;
  trainee.Save(own);
  std::set<std::string> names;
  for (const auto& [name, tensor] : stored) names.insert(name);
  for (const auto& [name, tensor] : own) names.insert(name);
  std::string text;
  int differing = 0;
  for (const std::string& name : names) {
    const std::string there = ShapeText(stored, name), here = ShapeText(own, name);
    if (there == here || ++differing > kNamed) continue;
    absl::StrAppend(&text, differing == 1 ? "; " : ", ", name, " is ", there, " there and ", here,
                    " here");
  }
  if (differing > kNamed) absl::StrAppend(&text, " and ", differing - kNamed, " more");
  return text;
}

absl::StatusOr<Position> Resume(const std::string& path, Trainee& trainee) {
  auto file = ReadSafetensors(path);
  if (!file.ok()) return file.status();
  if (file->metadata["description"] != trainee.Description()) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " was written by a run with other options: ", file->metadata["description"],
        " instead of ", trainee.Description(), DifferingTensors(file->tensors, trainee)));
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
  for (auto& [name, tensor] : tensors) tensor = tensor.detach().cpu().contiguous();
  return WriteSafetensors(path, tensors,
                          {{"description", trainee.Description()},
                           {"step", absl::StrCat(position.step)},
                           {"seconds", absl::StrFormat("%.3f", position.seconds)}});
}

std::string TimeText(double seconds) {
  return absl::FormatDuration(absl::Seconds(std::max<int64_t>(0, std::llround(seconds))));
}

// What a run writes beside its checkpoint. In processes other than the first it writes nothing.
class Records {
 public:
  static absl::StatusOr<std::unique_ptr<Records>> Open(const RunOptions& options,
                                                       int64_t first_step) {
    std::unique_ptr<Records> records(new Records(options.out));
    if (options.processes != nullptr && options.processes->rank() != 0) return records;
    absl::Status status = TruncateTable(records->LossPath(), kLossHeader, first_step);
    status.Update(TruncateTable(records->MetricsPath(), kMetricsHeader, first_step));
    if (!status.ok()) return status;
    records->losses_.open(records->LossPath(), std::ios::app);
    records->metrics_.open(records->MetricsPath(), std::ios::app);
    auto events = EventLog::Create(options.out, first_step);
    if (!events.ok()) return events.status();
    records->events_ = *std::move(events);
    return records;
  }

  absl::Status Loss(const Position& now, double loss, double rate,
                    const Trainee::StepResult& last) {
    if (events_ == nullptr) return absl::OkStatus();
    losses_ << now.step << ','
            << absl::StrFormat("%.1f,%.9g,%.4g,%.4g", now.seconds, loss, last.learning_rate,
                               last.gradient_norm)
            << std::endl;
    absl::Status status = Check(losses_, LossPath());
    status.Update(events_->Scalar("loss", now.step, loss));
    status.Update(events_->Scalar("learning_rate", now.step, last.learning_rate));
    status.Update(events_->Scalar("gradient_norm", now.step, last.gradient_norm));
    status.Update(events_->Scalar("steps_per_second", now.step, rate));
    return status;
  }

  absl::Status Metric(const Position& now, const std::string& name, double value) {
    if (events_ == nullptr) return absl::OkStatus();
    metrics_ << now.step << ',' << absl::StrFormat("%.1f", now.seconds) << ',' << name << ','
             << absl::StrFormat("%.6g", value) << std::endl;
    absl::Status status = Check(metrics_, MetricsPath());
    status.Update(events_->Scalar("held_out/" + name, now.step, value));
    return status;
  }

  absl::Status Samples(const Position& now, const std::vector<std::vector<torch::Tensor>>& rows) {
    if (events_ == nullptr || rows.empty()) return absl::OkStatus();
    std::error_code error;
    std::filesystem::create_directories(folder_ + "/samples", error);
    const auto sheet = MakeContactSheet(rows);
    if (!sheet.ok()) return sheet.status();
    const auto png = EncodePng(*sheet);
    if (!png.ok()) return png.status();
    absl::Status status =
        WriteFileAtomically(absl::StrFormat("%s/samples/step-%08d.png", folder_, now.step), *png);
    status.Update(events_->Picture("samples", now.step, *png, sheet->width, sheet->height));
    return status;
  }

  // loss.png from loss.csv; nothing before there are two rows.
  absl::Status DrawCurve() const {
    if (events_ == nullptr) return absl::OkStatus();
    std::vector<std::pair<double, double>> rows;
    std::ifstream in(LossPath());
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      const std::vector<std::string> cells = absl::StrSplit(line, ',');
      double step = 0, loss = 0;
      if (cells.size() > 2 && absl::SimpleAtod(cells[0], &step) &&
          absl::SimpleAtod(cells[2], &loss)) {
        rows.emplace_back(step, loss);
      }
    }
    if (rows.size() < 2) return absl::OkStatus();
    const size_t group = (rows.size() + kCurvePoints - 1) / kCurvePoints;
    Plot plot;
    plot.x_label = "step";
    plot.y_label = "loss";
    plot.series = {{"loss", {}}};
    for (size_t i = 0; i + group <= rows.size(); i += group) {
      double step = 0, loss = 0;
      for (size_t k = i; k < i + group; ++k) {
        step += rows[k].first / static_cast<double>(group);
        loss += rows[k].second / static_cast<double>(group);
      }
      plot.series[0].points.emplace_back(step, loss);
    }
    const auto picture = DrawPlot(plot);
    if (!picture.ok()) return picture.status();
    const auto png = EncodePng(*picture);
    if (!png.ok()) return png.status();
    return WriteFileAtomically(folder_ + "/loss.png", *png);
  }

 private:
  explicit Records(std::string folder) : folder_(std::move(folder)) {}

  std::string LossPath() const { return folder_ + "/loss.csv"; }
  std::string MetricsPath() const { return folder_ + "/metrics.csv"; }
  static absl::Status Check(const std::ofstream& out, const std::string& path) {
    if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", path));
    return absl::OkStatus();
  }

  const std::string folder_;
  std::ofstream losses_, metrics_;
  std::unique_ptr<EventLog> events_;  // null: not the first process
};

// What every process must do alike, as the first one's clock and signals have it.
struct Control {
  double progress = 0;
  bool stop = false;
};

absl::StatusOr<Control> Agree(Processes* processes, Control own) {
  if (processes == nullptr) return own;
  torch::Tensor message = torch::tensor({own.progress, own.stop ? 1.0 : 0.0}, torch::kFloat64);
  const absl::Status status = processes->Broadcast(message);
  if (!status.ok()) return status;
  return Control{message[0].item<double>(), message[1].item<double>() != 0};
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
  const bool first_process = options.processes == nullptr || options.processes->rank() == 0;

  Position start;
  if (std::filesystem::exists(checkpoint)) {
    auto resumed = Resume(checkpoint, trainee);
    if (!resumed.ok()) return resumed.status();
    start = *resumed;
    if (first_process) log << "going on from step " << start.step << std::endl;
  }
  auto records = Records::Open(options, start.step);
  if (!records.ok()) return records.status();

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
  const auto evaluate = [&]() -> absl::Status {
    if (!first_process) return absl::OkStatus();
    const absl::Time begun = absl::Now();
    std::string line;
    for (const auto& [name, value] : trainee.Evaluate()) {
      if (absl::Status status = (*records)->Metric(now, name, value); !status.ok()) return status;
      absl::StrAppendFormat(&line, " %s %.4g", name, value);
    }
    log << "step " << now.step << " evaluation:" << line << " ("
        << absl::StrFormat("%.1f s)", absl::ToDoubleSeconds(absl::Now() - begun)) << std::endl;
    return absl::OkStatus();
  };
  const auto save = [&]() -> absl::Status {
    if (!first_process) return absl::OkStatus();
    absl::Status status = WriteCheckpoint(checkpoint, trainee, now);
    if (status.ok()) status = (*records)->DrawCurve();
    return status;
  };

  double last_checkpoint = start.seconds, last_evaluation = start.seconds;
  double window_loss = 0, window_begin = start.seconds;
  int64_t window_steps = 0;
  const auto begin_window = [&] {
    window_begin = seconds_spent();
    window_loss = 0;
    window_steps = 0;
  };
  bool stopped = false;
  while (true) {
    const auto control =
        Agree(options.processes, {progress(), options.stop != nullptr && options.stop->load()});
    if (!control.ok()) return control.status();
    if (control->progress >= 1) break;
    if (control->stop) {
      stopped = true;
      break;
    }
    const auto result = trainee.Step(now.step, control->progress);
    if (!result.ok()) return result.status();
    if (!std::isfinite(result->loss)) {
      return absl::InternalError(absl::StrFormat(
          "the loss of step %d is %f; its batch held the people with seeds %s", now.step,
          result->loss, result->seeds.empty() ? "unknown" : absl::StrJoin(result->seeds, ", ")));
    }
    ++now.step;
    now.seconds = seconds_spent();
    window_loss += result->loss;
    ++window_steps;
    if (first_process && now.step % options.log_every == 0) {
      const double elapsed = std::max(1e-9, now.seconds - window_begin);
      const double rate = static_cast<double>(window_steps) / elapsed;
      const double loss = window_loss / static_cast<double>(window_steps);
      double left = options.minutes > 0 ? options.minutes * 60 - now.seconds : 1e18;
      if (options.steps > 0) {
        left = std::min(left, static_cast<double>(options.steps - now.step) / rate);
      }
      const absl::Status status = (*records)->Loss(now, loss, rate, *result);
      if (!status.ok()) return status;
      log << absl::StrFormat("step %d loss %.5f lr %.2e |g| %.2f %.2f it/s, %s left", now.step,
                             loss, result->learning_rate, result->gradient_norm, rate,
                             TimeText(left))
          << std::endl;
      begin_window();
    }
    if (now.seconds - last_checkpoint >= options.checkpoint_minutes * 60) {
      if (absl::Status status = save(); !status.ok()) return status;
      last_checkpoint = now.seconds;
    }
    if (options.evaluate_minutes > 0 &&
        now.seconds - last_evaluation >= options.evaluate_minutes * 60) {
      if (absl::Status status = evaluate(); !status.ok()) return status;
      last_evaluation = now.seconds;
      begin_window();
    }
    if (first_process && options.sample_every > 0 && now.step % options.sample_every == 0) {
      const absl::Status status = (*records)->Samples(now, trainee.Samples());
      if (!status.ok()) return status;
      begin_window();
    }
  }
  if (absl::Status status = save(); !status.ok()) return status;
  if (first_process) {
    log << (stopped ? "stopped" : "finished") << " at step " << now.step << " after "
        << TimeText(now.seconds) << std::endl;
  }
  if (!stopped && options.evaluate_minutes > 0) {
    if (absl::Status status = evaluate(); !status.ok()) return status;
  }
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

torch::Tensor RowNoise(uint64_t seed, at::IntArrayRef shape) {
  return torch::randn(shape, at::detail::createCPUGenerator(seed));
}

AutocastScope::AutocastScope(bool enabled, torch::Device device)
    : type_(device.type()), before_(at::autocast::is_autocast_enabled(type_)) {
  at::autocast::set_autocast_enabled(type_, enabled);
  at::autocast::set_autocast_dtype(type_, at::kBFloat16);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  // The cache holds bfloat16 copies of the weights, which the next optimizer step makes stale.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(type_, before_);
}

}  // namespace reenact
