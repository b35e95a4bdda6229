// One reenactment, from bytes to bytes. The life of a job is told in pipeline/engine.h.
//
// Frames pass from the denoiser (scheduler thread) to Render (any thread) through `ready_`, as
// latents, a few kilobytes each. Render decodes the earliest first; pictures that are ahead of an
// unfinished one wait, up to max_waiting_bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "pipeline/engine.h"
#include "pipeline/engine/trace_denoiser.h"
#include "pipeline/media/mp4_writer.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/reenactor/model.h"
#include "pipeline/reenactor/trace_budget.h"

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
  absl::Status FinishDriving() override;
  const JobPlan& plan() const override { return plan_; }
  void Cancel() override { cancelled_ = true; }
  bool denoised() const override;
  int64_t steps_done() const override { return steps_done_; }
  RowDemand row_demand() const override;
  bool renderable() const override ABSL_LOCKS_EXCLUDED(mu_);
  bool rendered() const override;
  int64_t frames_done() const override { return frames_done_; }
  absl::StatusOr<std::vector<Output>> Render() override ABSL_LOCKS_EXCLUDED(mu_);
  JobSummary Summary() const override;

  // The job's part of Engine::Step; scheduler thread only. The rows it puts into a step, which runs
  // on executor() (kFailedPrecondition, kInternal: it cannot take part), and what came of them.
  RowExecutor& executor() const { return model_.executor(); }
  absl::StatusOr<TraceDenoiser::Share> BeginStep(int num_rows);
  absl::Status EndStep(int num_rows, absl::StatusOr<std::vector<FinishedFrame>> finished,
                       absl::Duration duration) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  ReenactorJob(const Model& model, const ReenactorOptions& options, TraceBudget& budget,
               JobRequest request);

  // What is known of the driving clip: times, and landmarks in the clip's crop.
  struct DrivingClip {
    VideoInfo info;
    std::vector<int64_t> pts, durations;
    std::vector<Landmarks> landmarks;
  };
  absl::Status ReadDriving();
  absl::Status Prepare();
  // kCancelled after Cancel().
  absl::Status CheckCancelled() const;
  // Chooses the form of the trace; kRetained reserves its memory.
  absl::StatusOr<TraceForm> ChooseTraceForm();
  absl::Status OpenWriter();

  // Whether the earliest latent of `ready_` may be decoded now.
  bool CanDecode() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Emit(int frame, const Image& image, std::vector<Output>* outputs);
  void AddPieces(std::vector<Mp4Writer::Piece> pieces, std::vector<Output>* outputs);

  const Model& model_;
  const ReenactorOptions options_;
  TraceBudget& budget_;
  JobRequest request_;  // the source's bytes are dropped once it is embedded
  const int64_t picture_bytes_;
  std::atomic<bool> cancelled_{false};

  // Preparation; constant after FinishDriving.
  std::unique_ptr<FaceLandmarker> landmarker_;  // until FinishDriving
  EmbeddedSource source_;
  std::string driving_;
  bool finished_driving_ = false;
  DrivingClip clip_;
  std::optional<AudioTrack> audio_;  // moved into the writer
  JobPlan plan_;
  JobSummary summary_;  // Step and Render add their parts at the end: see Summary()

  // Scheduler thread.
  std::optional<TraceDenoiser> denoiser_;
  TraceBudget::Reservation retained_;
  absl::Duration denoise_time_;
  int64_t steps_run_ = 0;
  std::atomic<int64_t> steps_done_{0};  // row steps

  mutable absl::Mutex mu_;
  std::map<int, torch::Tensor> ready_ ABSL_GUARDED_BY(mu_);  // by frame
  int64_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int next_frame_ ABSL_GUARDED_BY(mu_) = 0;  // the first that was not decoded in turn

  // Render's thread.
  std::map<int, Image> waiting_;
  std::unique_ptr<Mp4Writer> writer_;
  int64_t bytes_out_ = 0;
  absl::Duration render_time_;
  std::atomic<int64_t> frames_done_{0};
  std::atomic<bool> rendered_{false};
};

}  // namespace reenact
