// The last part of a job: latents, which come in any order, to pictures, which leave in time order
// as the bytes the caller asked for. The earliest is decoded first; pictures that are ahead of an
// unfinished one wait, up to max_waiting_bytes.
//
// A job may generate several faces (JobRequest::further_faces), numbered from 0. When the pictures
// of all of them are there for a frame, they are composed into one.
//
// Start on preparation's thread, AddLatents on the scheduler's, Render on any one thread at a time;
// the other methods are thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
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
#include "pipeline/compose/paste_back.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
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
  // Looks at `cancelled` before every frame.
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
  int width() const;
  int height() const;

  // Rendering's thread.
  absl::Status RenderSome(const std::atomic<bool>& cancelled, std::vector<Output>* outputs,
                          bool* finished) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status DecodeNext(bool* decoded) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status EmitReady(std::vector<Output>* outputs) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether every face's picture of the frame is there.
  bool IsWhole(int frame) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What was generated for one frame, by face.
  struct Generated {
    Image picture;        // of the model's size
    Landmarks landmarks;  // what it was to show; only with Composition::kPasteBack
  };
  // Makes picture_ of it.
  absl::Status Compose(std::vector<Generated> faces);
  absl::Status Emit(int frame, const ClipFrames::Times& times, std::vector<Output>* outputs);
  void NoteEmitted(int frame, const ClipFrames::Times& times) ABSL_LOCKS_EXCLUDED(mu_);
  void AddPieces(std::vector<VideoWriter::Piece> pieces, std::vector<Output>* outputs);

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
  std::map<FrameOfFace, torch::Tensor> ready_ ABSL_GUARDED_BY(mu_);  // latents
  std::map<FrameOfFace, Image> waiting_ ABSL_GUARDED_BY(mu_);        // pictures
  int next_frame_ ABSL_GUARDED_BY(mu_) = 0;                          // the next to be emitted
  Pace pace_ ABSL_GUARDED_BY(mu_);

  // Rendering's thread.
  std::vector<PasteBack> paste_backs_;  // one per face
  std::vector<size_t> paste_order_;     // of faces: smaller ones, farther away, first
  Image picture_;                       // the last emitted
  std::unique_ptr<VideoWriter> writer_;
  absl::Duration lag_;  // the largest of the frames emitted by this call
  int64_t bytes_out_ = 0;
  absl::Duration time_;
  std::atomic<int64_t> frames_done_{0};
  std::atomic<bool> rendered_{false};
};

}  // namespace reenact
