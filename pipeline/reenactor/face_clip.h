// One face of a job while it is denoised: the denoiser of its clip and the memory that takes. The
// clips of a job have the same frames and the same rows of them; each has a source and landmarks of
// its own.
//
// Made on preparation's thread, then owned by the scheduler's; total_row_steps() is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/anchored/clip_plan.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/anchored/row_schedule.h"
#include "pipeline/engine.h"
#include "pipeline/engine/clip_denoiser.h"
#include "pipeline/reenactor/clip_frames.h"
#include "pipeline/reenactor/model.h"
#include "pipeline/reenactor/reenactor.h"
#include "pipeline/reenactor/trace_budget.h"
#include "pipeline/types.h"

namespace reenact {

class FaceClip {
 public:
  // What the clips of a job have in common. All must outlive them; `request` has no empty optional
  // that denoising needs.
  struct Shared {
    const Model& model;
    const ReenactorOptions& options;
    const JobRequest& request;
    const std::vector<EmbeddedSource>& sources;  // one per face
    const ClipFrames& frames;
    TraceBudget& budget;
  };

  // `plan` has all rows of the clip, or, if not `complete`, the first.
  static absl::StatusOr<FaceClip> Start(const Shared& shared, size_t face, ClipPlan plan,
                                        bool complete);

  // Of the denoiser (clip_denoiser.h); after done() there is nothing to step.
  RowDemand demand() const;
  int num_open_rows() const;
  int64_t row_steps_done() const { return row_steps_done_; }
  void AddRow(std::vector<RowSlot> row);
  void Complete();
  bool done() const { return denoiser_ == nullptr; }
  // Its part of a step, `num_rows` within demand(). After the step: EndStep.
  ClipDenoiser::Share share(int num_rows) const { return {denoiser_.get(), num_rows}; }
  // Frees everything if that was the last.
  void EndStep();

  // Of the whole clip if it has `num_rows` rows; a row that runs again counts again.
  int64_t total_row_steps(int num_rows) const;

 private:
  FaceClip() = default;

  // Chooses the form of the trace; kRetained reserves its memory.
  absl::StatusOr<TraceForm> ChooseTraceForm(const Shared& shared, const RowPlan& rows,
                                            bool complete);

  std::unique_ptr<ClipDenoiser> denoiser_;
  TraceBudget::Reservation retained_;
  int64_t row_steps_done_ = 0;

  // Constant.
  int num_steps_ = 0;
  int max_active_rows_ = 0;
  int64_t known_total_ = 0;  // of a clip that was complete from the start; else 0
  bool recomputed_ = false;  // the anchor row runs again in every pass
};

}  // namespace reenact
