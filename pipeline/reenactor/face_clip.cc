#include "pipeline/reenactor/face_clip.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/trace_denoiser.h"
#include "pipeline/engine/window_denoiser.h"

namespace reenact {

absl::StatusOr<FaceClip> FaceClip::Start(const Shared& shared, size_t face, ClipPlan plan,
                                         bool complete) {
  const JobRequest& request = shared.request;
  const BundleConfig& config = shared.model.bundle().config;
  auto schedule =
      Schedule::Create(config.schedule, config.num_train_steps,
                       absl::StrCat(config.trailing_steps ? "trailing" : "", *request.num_steps));
  if (!schedule.ok()) return schedule.status();
  auto conditions = shared.model.MakeConditions(
      shared.sources[face],
      [&frames = shared.frames, face](absl::Span<const int64_t> which) {
        return frames.landmarks(face, which);
      },
      *request.guidance_scale != 1);
  if (!conditions.ok()) return conditions.status();

  FaceClip clip;
  clip.num_steps_ = schedule->size();
  // The rows of all faces together stay within the job's bound as far as they can.
  clip.max_active_rows_ =
      std::max(2, shared.options.max_active_rows / static_cast<int>(shared.sources.size()));

  SamplingOptions options;
  options.prediction = config.prediction;
  options.sampler = *request.sampler;
  options.ddim_eta = request.ddim_eta;
  options.guidance_scale = *request.guidance_scale;
  options.guided_channels = config.guided_channels;
  const int64_t channels = config.sdit.latent_channels;
  const int64_t size = config.sdit.latent_size;
  const NoiseSource noise = [seed = request.seed, shared_noise = config.shared_noise, channels,
                             size](int frame, int step) {
    return FrameNoise(seed, shared_noise ? 0 : static_cast<uint64_t>(frame),
                      static_cast<uint64_t>(step), {channels, size, size});
  };
  if (!plan.windows.empty()) {
    auto denoiser = WindowDenoiser::Create(
        shared.model.executor(), *std::move(schedule), plan.method, std::move(plan.windows),
        *std::move(conditions), noise, options, clip.max_active_rows_);
    if (!denoiser.ok()) return denoiser.status();
    clip.denoiser_ = std::make_unique<WindowDenoiser>(*std::move(denoiser));
  } else {
    const auto form = clip.ChooseTraceForm(shared, plan.rows, complete);
    if (!form.ok()) return form.status();
    clip.recomputed_ = *form != TraceForm::kRetained;
    RowSchedule::Options order;
    order.form = *form;
    order.max_active_rows = clip.max_active_rows_;
    // The first frames are those of row 0: they are there soonest if it runs alone.
    order.max_first_rows = complete ? clip.max_active_rows_ : 1;
    auto denoiser =
        TraceDenoiser::Create(shared.model.executor(), *std::move(schedule), std::move(plan.rows),
                              *std::move(conditions), noise, options, order, complete);
    if (!denoiser.ok()) return denoiser.status();
    clip.denoiser_ = std::make_unique<TraceDenoiser>(*std::move(denoiser));
  }
  if (complete) clip.known_total_ = clip.denoiser_->total_row_steps();
  return clip;
}

absl::StatusOr<TraceForm> FaceClip::ChooseTraceForm(const Shared& shared, const RowPlan& rows,
                                                    bool complete) {
  // Rows that share nothing keep nothing.
  if (!rows.anchor_slot.has_value()) return TraceForm::kRetained;
  using Trace = ReenactorOptions::Trace;
  const ReenactorOptions& options = shared.options;
  if (options.trace == Trace::kLockStep) return TraceForm::kLockStep;
  if (options.trace == Trace::kRecomputed) return TraceForm::kRecomputed;
  const int64_t bytes = TraceDenoiser::RetainedBytes(
      shared.model.executor(), num_steps_, *shared.request.guidance_scale != 1,
      1 + static_cast<int>(rows.linked_scenes.size()));
  auto reservation = shared.budget.Reserve(bytes);
  if (reservation.has_value()) {
    retained_ = *std::move(reservation);
    return TraceForm::kRetained;
  }
  if (options.trace == Trace::kRetained) {
    return absl::ResourceExhaustedError(absl::StrCat("the job's anchor trace takes ", bytes,
                                                     " bytes; ", shared.budget.available(), " of ",
                                                     shared.budget.limit(), " are free"));
  }
  const int num_rows = static_cast<int>(rows.rows.size());
  return complete && num_rows <= max_active_rows_ ? TraceForm::kLockStep : TraceForm::kRecomputed;
}

RowDemand FaceClip::demand() const { return done() ? RowDemand{} : denoiser_->demand(); }

int FaceClip::num_open_rows() const { return done() ? 0 : denoiser_->num_open_rows(); }

void FaceClip::AddRow(std::vector<RowSlot> row) { denoiser_->AddRow(std::move(row)); }

void FaceClip::Complete() {
  if (!done()) denoiser_->Complete();
}

void FaceClip::EndStep() {
  row_steps_done_ = denoiser_->row_steps_done();
  if (!denoiser_->done()) return;
  denoiser_.reset();
  retained_ = {};
}

int64_t FaceClip::total_row_steps(int num_rows) const {
  if (known_total_ > 0) return known_total_;
  int64_t rows = num_rows;
  if (recomputed_) {
    const int followers = max_active_rows_ - 1;
    rows += std::max(0, (num_rows - 1 + followers - 1) / followers - 1);
  }
  return rows * num_steps_;
}

}  // namespace reenact
