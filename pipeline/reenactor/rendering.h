// The last part of a job: latents, which come in any order, to pictures, which leave in time order
// as the bytes the caller asked for. The earliest is decoded first; pictures that are ahead of an
// unfinished one wait, up to max_waiting_bytes.
//
// A job may generate several faces (JobRequest::further_faces), numbered from 0. When the pictures
// of all of them are there for a frame, they are composed into one.
//
// Encoding has a thread of its own (output_encoder.h) where pictures are large enough. Render waits
// for it only when nothing is left to decode, so that what is ready always leaves; while there is
// something in the encoder, renderable() is true.
//
// Start on preparation's thread, AddLatents on the scheduler's, Render on any one thread at a time;
// the other methods are thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/output/composer.h"
#include "pipeline/output/output_encoder.h"
#include "pipeline/reenactor/clip_frames.h"
#include "pipeline/reenactor/model.h"
#include "pipeline/types.h"

namespace reenact {

class Rendering {
 public:
  // All must outlive it. `request` has no empty output_size. `sources`: one per face, of which the
  // first has the whole picture with Composition::kPasteBack; filled before Start.
  Rendering(const Model& model, const ReenactorOptions& options, const JobRequest& request,
            const std::vector<EmbeddedSource>& sources, ClipFrames& frames);

  // Once, before the first latents: the driving's times and its sound. kInternal: an encoder is not
  // there.
  absl::Status Start(const VideoInfo& driving, std::optional<AudioTrack> audio);

  // Whether the sound is in the output as it came. After Start.
  bool audio_copied() const { return audio_copied_; }

  void AddLatents(size_t face, std::vector<FinishedFrame> frames) ABSL_LOCKS_EXCLUDED(mu_);

  // As EngineJob's methods of the same names.
  bool renderable() const ABSL_LOCKS_EXCLUDED(mu_);
  bool rendered() const { return rendered_; }
  int64_t frames_done() const { return frames_done_; }
  // Looks at `cancelled` before every frame that is decoded, and when one has been encoded.
  absl::StatusOr<std::vector<Output>> Render(const std::atomic<bool>& cancelled)
      ABSL_LOCKS_EXCLUDED(mu_);

  // LiveStatus's fields of the same names, of a live job.
  struct Pace {
    absl::Duration lag;
    double real_time_ratio = 0;
  };
  Pace pace() const ABSL_LOCKS_EXCLUDED(mu_);

  // When rendered().
  int64_t bytes_out() const { return bytes_out_; }
  absl::Duration time() const { return time_; }

 private:
  using FrameOfFace = std::pair<int, size_t>;  // in the order of frames

  // Whether the earliest latent may be decoded now, the next picture be emitted, and whether only
  // the end is left.
  bool CanDecode() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CanEmit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CanFinish() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  bool grows() const {
    return request_.plan == SequencePlan::kContiguous || request_.live.has_value();
  }
  bool is_video() const { return request_.format == OutputFormat::kFragmentedMp4; }

  // Rendering's thread.
  absl::Status RenderSome(const std::atomic<bool>& cancelled, std::vector<Output>* outputs,
                          bool* finished) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status DecodeNext(bool* decoded) ABSL_LOCKS_EXCLUDED(mu_);
  // Composes what can be emitted and hands it to the encoder.
  absl::Status EmitReady() ABSL_LOCKS_EXCLUDED(mu_);
  // Takes what the encoder has done.
  absl::Status TakeEncoded(std::vector<Output>* outputs) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether every face's picture of the frame is there.
  bool IsWhole(int frame) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Model& model_;
  const ReenactorOptions& options_;
  const JobRequest& request_;
  const std::vector<EmbeddedSource>& sources_;
  ClipFrames& frames_;
  const int64_t picture_bytes_;

  // Constant after Start.
  int32_t time_base_num_ = 0;
  int32_t time_base_den_ = 1;
  bool audio_copied_ = false;

  mutable absl::Mutex mu_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  std::map<FrameOfFace, torch::Tensor> ready_ ABSL_GUARDED_BY(mu_);  // latents
  std::map<FrameOfFace, Image> waiting_ ABSL_GUARDED_BY(mu_);        // pictures
  int next_frame_ ABSL_GUARDED_BY(mu_) = 0;                          // the next to be emitted
  Pace pace_ ABSL_GUARDED_BY(mu_);

  // Rendering's thread, after Start.
  std::optional<Composer> composer_;
  std::unique_ptr<OutputEncoder> encoder_;
  std::deque<ClipFrames::Times> encoding_;  // of the frames the encoder has
  bool finishing_ = false;                  // the encoder has them all
  int64_t bytes_out_ = 0;
  absl::Duration time_;
  std::atomic<int64_t> frames_done_{0};
  std::atomic<bool> rendered_{false};
};

}  // namespace reenact
