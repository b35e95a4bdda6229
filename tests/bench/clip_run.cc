#include "tests/bench/clip_run.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/engine/override_denoiser.h"
#include "pipeline/engine/trace_denoiser.h"

namespace reenact::bench {
namespace {

NoiseSource Noise(const ClipSpec& spec) {
  const SDiTConfig& config = spec.sdit->config();
  return [seed = spec.seed, channels = config.latent_channels, size = config.latent_size](
             int frame, int step) {
    return FrameNoise(seed, static_cast<uint64_t>(frame), static_cast<uint64_t>(step),
                      {channels, size, size});
  };
}

// Takes finished frames into `run`.
absl::Status Take(std::vector<FinishedFrame> finished, const Stopwatch& watch,
                  const OnFinished& on_finished, ClipRun& run) {
  if (finished.empty()) return absl::OkStatus();
  const bool first = run.frames.empty();
  if (on_finished != nullptr) {
    if (auto status = on_finished(finished); !status.ok()) return status;
  }
  if (first) run.first_frames = watch.elapsed();
  std::move(finished.begin(), finished.end(), std::back_inserter(run.frames));
  return absl::OkStatus();
}

int RowsPerStep(const ClipSpec& spec, const RowPlan& plan) {
  const int rows = static_cast<int>(plan.rows.size());
  return std::max(2, spec.rows_per_step > 0 ? std::min(spec.rows_per_step, rows) : rows);
}

absl::StatusOr<ClipRun> RunOverride(const ClipSpec& spec, Schedule schedule, RowPlan plan,
                                    const OnFinished& on_finished) {
  ClipRun run;
  run.num_rows = static_cast<int>(plan.rows.size());
  const int rows_per_step = RowsPerStep(spec, plan);
  const Stopwatch watch;
  auto denoiser =
      OverrideDenoiser::Create(spec.sdit, std::move(schedule), std::move(plan), spec.conditions,
                               Noise(spec), spec.sampling, rows_per_step);
  if (!denoiser.ok()) return denoiser.status();
  while (!denoiser->done()) {
    auto finished = denoiser->Step();
    if (!finished.ok()) return finished.status();
    ++run.num_forwards;
    if (auto status = Take(*std::move(finished), watch, on_finished, run); !status.ok()) {
      return status;
    }
  }
  run.whole = watch.elapsed();
  run.gflop = static_cast<double>(denoiser->rows_run()) *
              TraceDenoiser::GflopPerRowStep(spec.sdit->config(), spec.sampling.guided());
  return run;
}

absl::StatusOr<ClipRun> RunRows(const ClipSpec& spec, Schedule schedule, RowPlan plan,
                                const OnFinished& on_finished) {
  ClipRun run;
  run.num_rows = static_cast<int>(plan.rows.size());
  const int num_steps = schedule.size();
  const bool has_anchor = plan.anchor_slot.has_value();
  const int rows_per_step = RowsPerStep(spec, plan);
  RowSchedule::Options order;
  order.form = spec.form;
  order.max_active_rows = rows_per_step;
  order.max_first_rows = spec.first_rows > 0 ? spec.first_rows : rows_per_step;
  const Stopwatch watch;
  auto denoiser = TraceDenoiser::Create(*spec.executor, std::move(schedule), std::move(plan),
                                        spec.conditions, Noise(spec), spec.sampling, order);
  if (!denoiser.ok()) return denoiser.status();
  const int64_t total = denoiser->total_row_steps();
  while (!denoiser->done()) {
    const RowDemand demand = denoiser->demand();
    const TraceDenoiser::Share share = {
        .clip = &*denoiser,
        .num_rows = std::clamp(rows_per_step, demand.min_rows, demand.max_rows)};
    auto finished = std::move(TraceDenoiser::Step(*spec.executor, {&share, 1}).front());
    if (!finished.ok()) return finished.status();
    ++run.num_forwards;
    if (has_anchor && run.num_rows > 1) {
      // One at least exists within the step that leaves it.
      run.max_trace_bytes =
          std::max({run.max_trace_bytes, denoiser->trace_bytes(), spec.executor->trace_bytes()});
    }
    if (auto status = Take(*std::move(finished), watch, on_finished, run); !status.ok()) {
      return status;
    }
  }
  run.whole = watch.elapsed();
  const SDiTConfig& config = spec.sdit->config();
  const double halves = spec.sampling.guided() ? 2 : 1;
  // Every row but row 0 runs once; what is beyond that is row 0, again in every pass.
  const int64_t followers = has_anchor ? int64_t{run.num_rows - 1} * num_steps : 0;
  run.gflop =
      halves *
      (static_cast<double>(total - followers) * RowGflop(config, config.num_frames) +
       (followers > 0 ? static_cast<double>(followers) * RowGflop(config, config.num_frames - 1)
                      : 0));
  return run;
}

absl::StatusOr<ClipRun> RunMultiDiffusion(const ClipSpec& spec, const Schedule& schedule,
                                          const OnFinished& on_finished) {
  const SDiTConfig& config = spec.sdit->config();
  const int width = static_cast<int>(config.num_frames);
  if (spec.sampling.guided()) {
    return absl::InvalidArgumentError("multidiffusion has no guidance");
  }
  if (spec.num_frames < width) {
    return absl::InvalidArgumentError(
        absl::StrCat("--frames: multidiffusion needs at least one "
                     "window of ",
                     width, " frames"));
  }
  const std::vector<int> starts =
      WindowStarts(spec.num_frames, width, std::max(1, width - width / 2));
  const NoiseSource noise = Noise(spec);
  ClipRun run;
  run.num_rows = static_cast<int>(starts.size());

  const Stopwatch watch;
  c10::InferenceMode inference;
  RowExecutor& executor = *spec.executor;
  std::vector<torch::Tensor> initial;
  for (int frame = 0; frame < spec.num_frames; ++frame) initial.push_back(noise(frame, 0));
  SamplerState state;
  state.x = torch::stack(initial);  // [N, C, h, w]
  torch::Tensor count = torch::zeros({spec.num_frames, 1, 1, 1});
  for (const int start : starts) count.narrow(0, start, width).add_(1);

  std::vector<int64_t> all(static_cast<size_t>(spec.num_frames));
  std::iota(all.begin(), all.end(), 0);
  const FrameConditions conditions = ConditionsOf(spec.conditions, all, config, spec.sampling);
  torch::Tensor extra;
  if (config.landmark_map) extra = executor.EmbedMaps(conditions.landmark_map);
  std::optional<ExecutorSource> source;
  if (config.source != SourceTokens::kNone && spec.conditions.source_latent.has_value()) {
    const auto batch = [](const std::optional<torch::Tensor>& t) {
      return t.has_value() ? std::make_optional(t->unsqueeze(0)) : std::nullopt;
    };
    source = executor.TraceSource(spec.conditions.source_latent->unsqueeze(0),
                                  spec.conditions.source_C->unsqueeze(0),
                                  batch(spec.conditions.source_landmark_map));
  }
  for (int i = schedule.size() - 1; i >= 0; --i) {
    std::vector<ExecutorRow> rows(starts.size());
    for (size_t w = 0; w < starts.size(); ++w) {
      rows[w].x = state.x.narrow(0, starts[w], width);
      rows[w].t = schedule.timestep(i);
      rows[w].C = conditions.C.narrow(0, starts[w], width);
      if (extra.defined()) rows[w].extra = extra.narrow(0, starts[w], width);
      rows[w].source = source.has_value() ? &*source : nullptr;
    }
    const std::vector<torch::Tensor> outputs = executor.Forward(rows);
    ++run.num_forwards;
    torch::Tensor sum = torch::zeros(
        {spec.num_frames, config.out_channels(), config.latent_size, config.latent_size});
    for (size_t w = 0; w < starts.size(); ++w) {
      sum.narrow(0, starts[w], width).add_(outputs[w]);
    }
    const int step = schedule.size() - i;
    const auto draw = [&] {
      std::vector<torch::Tensor> drawn;
      for (int frame = 0; frame < spec.num_frames; ++frame) drawn.push_back(noise(frame, step));
      return torch::stack(drawn);
    };
    SamplerStep(schedule, i, sum / count, spec.sampling, draw, &state);
  }
  std::vector<FinishedFrame> finished;
  for (int frame = 0; frame < spec.num_frames; ++frame) {
    finished.push_back({frame, state.x[frame].clone()});
    if (auto status = CheckFinite(finished.back()); !status.ok()) return status;
  }
  if (auto status = Take(std::move(finished), watch, on_finished, run); !status.ok()) return status;
  run.whole = watch.elapsed();
  run.gflop =
      static_cast<double>(run.num_rows) * schedule.size() * RowGflop(config, config.num_frames);
  return run;
}

}  // namespace

const std::vector<std::string>& MethodNames() {
  static const auto* const names =
      new std::vector<std::string>{"anchored", "override", "independent", "multidiffusion"};
  return *names;
}

Method MethodNamed(const std::string& name) {
  if (name == "override") return Method::kOverride;
  if (name == "independent") return Method::kIndependent;
  if (name == "multidiffusion") return Method::kMultiDiffusion;
  return Method::kAnchored;
}

std::vector<int> WindowStarts(int num_frames, int width, int step) {
  std::vector<int> starts;
  for (int start = 0; start + width < num_frames; start += step) starts.push_back(start);
  starts.push_back(std::max(0, num_frames - width));
  return starts;
}

absl::StatusOr<ClipRun> RunClip(Method method, const ClipSpec& spec,
                                const OnFinished& on_finished) {
  auto schedule = Schedule::Create("linear", 1000, absl::StrCat(spec.num_steps));
  if (!schedule.ok()) return schedule.status();
  if (method == Method::kMultiDiffusion) return RunMultiDiffusion(spec, *schedule, on_finished);
  auto plan = PlanRows(spec.num_frames, static_cast<int>(spec.sdit->config().num_frames), spec.plan,
                       spec.seed);
  if (!plan.ok()) return plan.status();
  if (method == Method::kOverride) {
    return RunOverride(spec, *std::move(schedule), *std::move(plan), on_finished);
  }
  if (method == Method::kIndependent) plan->anchor_slot.reset();
  return RunRows(spec, *std::move(schedule), *std::move(plan), on_finished);
}

double RelativeDifference(const ClipRun& a, const ClipRun& b) {
  std::map<int, torch::Tensor> of_b;
  for (const FinishedFrame& frame : b.frames) of_b[frame.frame] = frame.latent;
  double difference = 0, largest = 0;
  for (const FinishedFrame& frame : a.frames) {
    largest = std::max(largest, frame.latent.abs().max().item<double>());
    const auto other = of_b.find(frame.frame);
    if (other == of_b.end()) return 1;
    difference = std::max(difference, (frame.latent - other->second).abs().max().item<double>());
  }
  return largest > 0 ? difference / largest : 0;
}

}  // namespace reenact::bench
