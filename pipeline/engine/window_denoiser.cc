#include "pipeline/engine/window_denoiser.h"

#include <cstddef>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {

using torch::Tensor;

absl::StatusOr<WindowDenoiser> WindowDenoiser::Create(RowExecutor& executor, Schedule schedule,
                                                      LongVideoMethod method,
                                                      std::vector<FrameWindow> windows,
                                                      Conditions conditions, NoiseSource noise,
                                                      const SamplingOptions& options,
                                                      int max_rows) {
  if (method != LongVideoMethod::kMultiDiffusion && method != LongVideoMethod::kOverlapped) {
    return absl::InvalidArgumentError("denoiser: not a method of overlapping windows");
  }
  for (const FrameWindow& window : windows) {
    if (window.count > executor.config().num_frames) {
      return absl::InvalidArgumentError(absl::StrCat("denoiser: windows of ", window.count,
                                                     " frames for a network of ",
                                                     executor.config().num_frames));
    }
  }
  if (auto status = CheckFit(executor.config(), conditions); !status.ok()) return status;
  return WindowDenoiser(executor, std::move(schedule), method, std::move(windows),
                        std::move(conditions), std::move(noise), options, max_rows);
}

WindowDenoiser::WindowDenoiser(RowExecutor& executor, Schedule schedule, LongVideoMethod method,
                               std::vector<FrameWindow> windows, Conditions conditions,
                               NoiseSource noise, const SamplingOptions& options, int max_rows)
    : executor_(&executor),
      schedule_(std::move(schedule)),
      method_(method),
      conditions_(std::move(conditions)),
      noise_(std::move(noise)),
      options_(options),
      order_(std::move(windows), schedule_.size(), max_rows),
      source_(TraceSource(executor, conditions_)) {}

void WindowDenoiser::BeginWindow(int number) {
  std::vector<int64_t> frames(static_cast<size_t>(window(number).count));
  std::iota(frames.begin(), frames.end(), int64_t{window(number).first});
  for (const int64_t f : frames) {
    const int frame = static_cast<int>(f);
    if (frames_.contains(frame)) continue;  // of the windows before
    const Tensor noise = noise_(method_ == LongVideoMethod::kOverlapped ? 0 : frame, 0);
    frames_[frame].state.x = noise;
  }
  ActiveWindow begun;
  FrameConditions conditions = ConditionsOf(conditions_, frames, executor_->config(), options_);
  begun.C = std::move(conditions.C);
  begun.C_dropped = std::move(conditions.C_dropped);
  if (executor_->config().landmark_map) {
    begun.extra = executor_->EmbedMaps(conditions.landmark_map);
  }
  active_[number] = std::move(begun);
}

// With guidance two rows of the executor each, the second without the appearance.
std::vector<ExecutorRow> WindowDenoiser::Begin(int num_rows) {
  steps_ = order_.Next(num_rows);
  std::vector<ExecutorRow> rows;
  for (const WindowStep& step : steps_) {
    if (step.step == 0) BeginWindow(step.window);
    const ActiveWindow& active = active_.at(step.window);
    std::vector<Tensor> latents;
    for (int f = window(step.window).first; f < window(step.window).end(); ++f) {
      latents.push_back(frames_.at(f).state.x);
    }
    ExecutorRow row;
    row.x = torch::stack(latents);
    row.t = schedule_.timestep(schedule_.size() - 1 - step.step);
    row.C = active.C;
    row.extra = active.extra;
    if (source_.has_value()) row.source = &*source_;
    rows.push_back(row);
    if (!options_.guided()) continue;
    row.C = active.C_dropped;
    row.source = nullptr;
    rows.push_back(std::move(row));
  }
  return rows;
}

void WindowDenoiser::Sum::Add(const Tensor& prediction) {
  sum = count == 0 ? prediction.clone() : sum.add_(prediction);
  ++count;
}

Tensor WindowDenoiser::Sum::TakeAverage() {
  const int taken = std::exchange(count, 0);
  return taken == 1 ? std::move(sum) : std::move(sum).div_(taken);
}

Tensor WindowDenoiser::Guided(const Tensor& with, const Tensor& without) const {
  return Guide(with, without, executor_->config(), options_);
}

absl::StatusOr<std::vector<FinishedFrame>> WindowDenoiser::Finish(
    absl::Span<const Tensor> outputs) {
  size_t next = 0;
  for (const WindowStep& step : steps_) {
    const Tensor with = outputs[next++];
    const Tensor without = options_.guided() ? outputs[next++] : Tensor();
    const Tensor prediction =
        options_.guided() && !guides_averages() ? Guided(with, without) : with;
    for (int k = 0; k < window(step.window).count; ++k) {
      ActiveFrame& frame = frames_.at(window(step.window).first + k);
      frame.with.Add(prediction[k]);
      if (guides_averages()) frame.without.Add(without[k]);
    }
    if (step.step == schedule_.size() - 1) active_.erase(step.window);
  }
  std::vector<FinishedFrame> finished;
  for (const FrameStep& step : order_.Advance(steps_)) {
    ActiveFrame& frame = frames_.at(step.frame);
    Tensor output = frame.with.TakeAverage();
    if (guides_averages()) output = Guided(output, frame.without.TakeAverage());
    SamplerStep(
        schedule_, schedule_.size() - 1 - step.step, output, options_,
        [&] { return noise_(step.frame, step.step + 1); }, &frame.state);
    if (step.step < schedule_.size() - 1) continue;
    finished.push_back({step.frame, frame.state.x.clone()});
    frames_.erase(step.frame);
    if (auto status = CheckFinite(finished.back()); !status.ok()) return status;
  }
  return finished;
}

}  // namespace reenact
