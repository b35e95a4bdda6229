// One reenactment, from bytes to bytes. The life of a job is told in pipeline/engine.h.
//
// Three parts, each on a thread of its own, meet under one mutex: preparation appends frames
// (ClipFrames); the scheduler's thread makes rows of them and denoises, which leaves latents, a few
// kilobytes each; rendering (rendering.h) decodes the earliest first.
//
// With the central plans rows are made once the whole clip has been read. A job that grows
// (SequencePlan::kContiguous, live driving) makes them while frames come (row_feed.h), and
// preparation keeps only a few rows ahead of denoising.
//
// Of several faces (JobRequest::further_faces, job_request.h) each has a source, landmarks and a
// denoiser of its own (face_clip.h); frames and rows are the same for all, and a row of each
// counts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "pipeline/anchored/clip_plan.h"
#include "pipeline/anchored/row_feed.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/engine.h"
#include "pipeline/engine/clip_denoiser.h"
#include "pipeline/reenactor/clip_frames.h"
#include "pipeline/reenactor/driving.h"
#include "pipeline/reenactor/face_clip.h"
#include "pipeline/reenactor/model.h"
#include "pipeline/reenactor/rendering.h"
#include "pipeline/reenactor/trace_budget.h"
#include "pipeline/source/source_video.h"

namespace reenact {

class ReenactorJob : public EngineJob {
 public:
  // Checks the request against the model and embeds the source. `model` and `budget` must outlive
  // the job.
  static absl::StatusOr<std::unique_ptr<ReenactorJob>> Create(const Model& model,
                                                              const ReenactorOptions& options,
                                                              TraceBudget& budget,
                                                              const JobRequest& request);

  absl::Status AddDriving(std::string_view bytes) override;
  absl::Status AddFrame(LiveFrame frame) override;
  absl::Status FinishDriving() override;
  absl::StatusOr<Preparation> Prepare() override ABSL_LOCKS_EXCLUDED(mu_);
  JobPlan plan() const override ABSL_LOCKS_EXCLUDED(mu_);
  LiveStatus live_status() const override ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel() override { cancelled_ = true; }
  bool denoised() const override ABSL_LOCKS_EXCLUDED(mu_);
  int64_t steps_done() const override { return steps_done_; }
  RowDemand row_demand() override ABSL_LOCKS_EXCLUDED(mu_);
  bool renderable() const override;
  bool rendered() const override { return rendering_.rendered(); }
  int64_t frames_done() const override { return rendering_.frames_done(); }
  absl::StatusOr<std::vector<Output>> Render() override;
  JobSummary Summary() const override;

  // The job's part of Engine::Step; scheduler thread only. The shares it puts into a step, which
  // runs on executor() (kFailedPrecondition, kInternal: it cannot take part), and what came of
  // each.
  RowExecutor& executor() const { return model_.executor(); }
  absl::StatusOr<std::vector<ClipDenoiser::Share>> BeginStep(int num_rows);
  absl::Status EndStep(std::vector<absl::StatusOr<std::vector<FinishedFrame>>> finished,
                       absl::Duration duration) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  ReenactorJob(const Model& model, const ReenactorOptions& options, TraceBudget& budget,
               JobRequest request);

  bool live() const { return request_.live.has_value(); }
  // Whether rows are made while frames come.
  bool grows() const { return request_.plan == SequencePlan::kContiguous || live(); }

  // What Create does after the checks, but for a source video, which preparation reads first.
  absl::Status ReadSources();
  // Reads some of the source video, then the sources. Once they are there source_video_ is null.
  absl::Status ReadSourceVideo();
  Driving::Options DrivingOptions() const;

  // Preparation's thread.
  absl::StatusOr<Preparation> PrepareSome();
  // Hands over what one reading gave, and makes what can be made of it.
  absl::Status TakeIn(std::vector<Driving::Frame> frames, bool end) ABSL_LOCKS_EXCLUDED(mu_);
  // The denoisers and the writer; `plan` has all rows of the clip, or the first.
  absl::Status Start(const ClipPlan& plan) ABSL_LOCKS_EXCLUDED(mu_);
  // The first frames of the driving's scenes but the first; known at its end.
  std::vector<int> SceneCuts() const;
  // The parts of summary_ that come from the driving.
  void Summarize();
  // kCancelled after Cancel().
  absl::Status CheckCancelled() const;
  bool IsAhead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Whether nothing is left to denoise.
  bool IsDenoised() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Scheduler thread: the faces, those furthest behind first, and what they want in this order.
  std::vector<size_t> FacesInOrder() const;
  std::vector<RowDemand> DemandsOf(const std::vector<size_t>& faces) const;

  const Model& model_;
  const ReenactorOptions options_;
  TraceBudget& budget_;
  JobRequest request_;  // the sources' bytes are dropped once they are embedded
  std::atomic<bool> cancelled_{false};

  // Preparation's thread; constant once it is done.
  std::vector<EmbeddedSource> sources_;  // one per face
  std::optional<Driving> driving_;       // none while the source video is being read
  std::unique_ptr<SourceVideo> source_video_;
  // Driving that comes meanwhile.
  std::string early_bytes_;
  std::vector<LiveFrame> early_frames_;
  bool early_end_ = false;
  JobSummary summary_;  // denoising and rendering add their parts at the end: see Summary()

  // Scheduler thread, once started_; their number is constant then.
  std::vector<FaceClip> clips_;  // one per face
  // Of the step that runs: who takes part.
  struct Part {
    size_t face = 0;
    int num_rows = 0;
  };
  std::vector<Part> parts_;
  absl::Duration denoise_time_;
  int64_t steps_run_ = 0;
  std::atomic<int64_t> steps_done_{0};  // row steps

  mutable absl::Mutex mu_;
  JobPlan plan_ ABSL_GUARDED_BY(mu_);
  RowFeed feed_ ABSL_GUARDED_BY(mu_);           // of a job that grows
  int num_rows_ ABSL_GUARDED_BY(mu_) = 0;       // of one face, made so far
  int open_rows_ ABSL_GUARDED_BY(mu_) = 0;      // of those, not yet denoised for every face
  bool complete_ ABSL_GUARDED_BY(mu_) = false;  // all frames are there
  bool started_ ABSL_GUARDED_BY(mu_) = false;   // the denoisers are there

  // frames_in and frames_skipped; the others are rendering's.
  LiveStatus live_status_ ABSL_GUARDED_BY(mu_);
  std::vector<FrameNote> skip_notes_ ABSL_GUARDED_BY(mu_);

  ClipFrames frames_;
  Rendering rendering_;
};

}  // namespace reenact
