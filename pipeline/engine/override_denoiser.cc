#include "pipeline/engine/override_denoiser.h"

#include <cstddef>
#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

torch::Tensor Mask(size_t rows, bool value) {
  return torch::full({static_cast<int64_t>(rows)}, value, torch::kBool);
}

}  // namespace

absl::StatusOr<OverrideDenoiser> OverrideDenoiser::Create(SDiT sdit, Schedule schedule,
                                                          RowPlan plan, Conditions conditions,
                                                          NoiseSource noise,
                                                          const SamplingOptions& options,
                                                          int max_rows_per_pass) {
  if (auto status = CheckFit(sdit->config(), plan, conditions); !status.ok()) {
    return status;
  }
  if (!plan.linked_scenes.empty()) {
    return absl::InvalidArgumentError("denoiser: the override has one anchor, not one for a scene");
  }
  return OverrideDenoiser(std::move(sdit), std::move(schedule), std::move(plan),
                          std::move(conditions), std::move(noise), options, max_rows_per_pass);
}

OverrideDenoiser::OverrideDenoiser(SDiT sdit, Schedule schedule, RowPlan plan,
                                   Conditions conditions, NoiseSource noise,
                                   const SamplingOptions& options, int max_rows_per_pass)
    : sdit_(std::move(sdit)),
      dtype_(sdit_->parameters().front().scalar_type()),
      schedule_(std::move(schedule)),
      plan_(std::move(plan)),
      conditions_(std::move(conditions)),
      noise_(std::move(noise)),
      options_(options),
      passes_(PlanPasses(plan_, max_rows_per_pass)) {}

torch::Tensor OverrideDenoiser::Noise(int step) const {
  std::vector<torch::Tensor> slots;
  for (const int row : pass().rows) {
    for (const RowSlot& slot : plan_.rows[row]) slots.push_back(noise_(slot.frame, step));
  }
  const torch::Tensor all = torch::stack(slots);
  return all.view({static_cast<int64_t>(pass().rows.size()), plan_.frames_per_row, all.size(1),
                   all.size(2), all.size(3)});
}

void OverrideDenoiser::BeginPass() {
  const SDiTConfig& config = sdit_->config();
  const auto num_rows = static_cast<int64_t>(pass().rows.size());
  state_ = {.x = Noise(0), .previous_x0 = {}};

  std::vector<int64_t> frames;
  for (const int row : pass().rows) {
    for (const RowSlot& slot : plan_.rows[row]) frames.push_back(slot.frame);
  }
  const FrameConditions conditions = ConditionsOf(conditions_, frames, config, options_);
  const auto by_row = [&](const torch::Tensor& of_frames) {
    std::vector<int64_t> shape = of_frames.sizes().vec();
    shape[0] = plan_.frames_per_row;
    shape.insert(shape.begin(), num_rows);
    return of_frames.to(dtype_).view(shape);
  };
  input_ = SDiTInput();
  input_.C = by_row(conditions.C);
  if (config.landmark_map) input_.landmark_map = by_row(conditions.landmark_map);
  if (config.source != SourceTokens::kNone) {
    const bool has_source = conditions_.source_latent.has_value();
    // A hidden source's numbers are read by nobody; they only have to be finite.
    input_.source_latent =
        has_source
            ? conditions_.source_latent->unsqueeze(0)
            : torch::zeros({1, config.latent_channels, config.latent_size, config.latent_size});
    input_.source_C =
        has_source ? conditions_.source_C->unsqueeze(0) : torch::zeros({1, config.hidden_size});
    if (config.landmark_map) {
      input_.source_landmark_map =
          has_source ? conditions_.source_landmark_map->unsqueeze(0)
                     : torch::zeros(
                           {1, config.tokens_side() * config.tokens_side(), kLandmarkMapChannels});
    }
    for (std::optional<torch::Tensor>* tensor :
         {&input_.source_latent, &input_.source_C, &input_.source_landmark_map}) {
      if (tensor->has_value()) *tensor = (*tensor)->to(dtype_);
    }
    if (!has_source) input_.source_mask = Mask(pass().rows.size(), false);
    if (config.source == SourceTokens::kSelf) {
      input_.source_trace =
          sdit_->trace_source(*input_.source_latent, *input_.source_C, input_.source_landmark_map);
      input_.source_latent.reset();
      input_.source_C.reset();
      input_.source_landmark_map.reset();
    }
  }
  if (options_.guided()) {
    dropped_ = input_;
    dropped_.C = by_row(conditions.C_dropped);
    if (config.source != SourceTokens::kNone) {
      dropped_.source_mask = Mask(pass().rows.size(), false);
    }
  }
}

torch::Tensor OverrideDenoiser::Predict(int64_t timestep) {
  std::optional<int64_t> slot;
  if (plan_.anchor_slot.has_value()) slot = *plan_.anchor_slot;
  const torch::Tensor t = torch::full({state_.x.size(0)}, timestep, torch::kInt64);
  input_.x = state_.x.to(dtype_);
  input_.t = t;
  torch::Tensor with = sdit_->forward(input_, slot).to(torch::kFloat32);
  if (!options_.guided()) return with;

  dropped_.x = input_.x;
  dropped_.t = t;
  const torch::Tensor without = sdit_->forward(dropped_, slot).to(torch::kFloat32);
  return Guide(with, without, sdit_->config(), options_);
}

std::vector<FinishedFrame> OverrideDenoiser::FinishedFrames() const {
  std::vector<FinishedFrame> finished;
  const Pass& current = pass();
  for (size_t b = current.shows_first ? 0 : 1; b < current.rows.size(); ++b) {
    const auto& row = plan_.rows[current.rows[b]];
    for (size_t k = 0; k < row.size(); ++k) {
      if (row[k].duplicate) continue;
      finished.push_back(
          {row[k].frame, state_.x[static_cast<int64_t>(b)][static_cast<int64_t>(k)].clone()});
    }
  }
  return finished;
}

absl::StatusOr<std::vector<FinishedFrame>> OverrideDenoiser::Step() {
  if (done()) return absl::FailedPreconditionError("every denoising step has run");
  const int step = static_cast<int>(steps_done_ % schedule_.size());
  const int i = schedule_.size() - 1 - step;
  try {
    c10::InferenceMode inference;
    if (step == 0) BeginPass();
    const torch::Tensor output = Predict(schedule_.timestep(i));
    SamplerStep(
        schedule_, i, output, options_, [&] { return Noise(step + 1); }, &state_);
    // Equal up to rounding: vector and scalar code of one operator may differ in the last bit.
    if (plan_.anchor_slot.has_value()) state_.x = Override(state_.x, *plan_.anchor_slot);

    std::vector<FinishedFrame> finished;
    if (i == 0) {
      finished = FinishedFrames();
      for (const FinishedFrame& frame : finished) {
        if (auto status = CheckFinite(frame); !status.ok()) return status;
      }
    }
    rows_run_ += static_cast<int64_t>(pass().rows.size());
    ++steps_done_;
    return finished;
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("denoising step ", steps_done_, ": ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("denoising step ", steps_done_, ": ", error.what()));
  }
}

}  // namespace reenact
