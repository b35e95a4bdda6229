#include "pipeline/driving/template_maker.h"

#include <atomic>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/driving/motion_template.h"

namespace reenact {
namespace {

// Frames read by one call, and bytes of sound after which it returns.
constexpr int kFramesPerRead = 8;
constexpr size_t kSoundPerRead = size_t{256} << 10;

class TemplateMaker final : public MotionExtraction {
 public:
  TemplateMaker(const TemplateMakerOptions& options, std::unique_ptr<FaceLandmarker> landmarker,
                std::optional<FaceBlendshapes> blendshapes)
      : options_(options),
        landmarker_(std::move(landmarker)),
        blendshapes_(std::move(blendshapes)) {}

  absl::Status AddBytes(std::string_view bytes) override {
    if (finished_) return absl::FailedPreconditionError("the driving media has ended already");
    const auto limit = static_cast<size_t>(options_.max_bytes);
    if (bytes.size() > limit || file_.size() > limit - bytes.size()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the driving media is larger than ", limit, " bytes"));
    }
    file_.append(bytes);
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (finished_) return absl::FailedPreconditionError("the driving media has ended already");
    if (file_.empty()) return absl::InvalidArgumentError("no driving media was sent");
    finished_ = true;
    return absl::OkStatus();
  }

  absl::StatusOr<Reading> Read(std::string* bytes) override {
    if (!finished_) return Reading::kNeedsInput;
    if (done_) return Reading::kDone;
    const size_t before = bytes->size();
    auto reading = ReadSome(bytes);
    summary_.bytes_out += static_cast<int64_t>(bytes->size() - before);
    return reading;
  }

  void Cancel() override { cancelled_ = true; }
  MotionSummary Summary() const override { return summary_; }

 private:
  absl::Status CheckCancelled() const {
    return cancelled_ ? absl::CancelledError("the extraction was cancelled") : absl::OkStatus();
  }

  absl::StatusOr<Reading> ReadSome(std::string* bytes) {
    if (auto status = CheckCancelled(); !status.ok()) return status;
    if (source_ == nullptr) {
      if (auto status = Open(bytes); !status.ok()) return status;
      return Reading::kMore;
    }
    if (sound_.has_value()) {
      const size_t enough = bytes->size() + kSoundPerRead;
      while (next_packet_ < sound_->packets.size() && bytes->size() < enough) {
        writer_.AddSound(sound_->packets[next_packet_], bytes);
        sound_->packets[next_packet_++].data = {};
      }
      if (next_packet_ == sound_->packets.size()) sound_.reset();
      return Reading::kMore;
    }
    for (int i = 0; i < kFramesPerRead; ++i) {
      if (auto status = CheckCancelled(); !status.ok()) return status;
      auto frame = source_->Next();
      if (!frame.ok()) return frame.status();
      if (!frame->has_value()) {
        if (auto status = End(bytes); !status.ok()) return status;
        return Reading::kDone;
      }
      Take(**frame, bytes);
    }
    return Reading::kMore;
  }

  absl::Status Open(std::string* bytes) {
    if (LooksLikeMotionTemplate(file_)) {
      return absl::InvalidArgumentError(
          "the driving media is a motion template already, must be a video or a picture");
    }
    auto source = OpenFaceSource(std::exchange(file_, {}), options_.source, std::move(landmarker_));
    if (!source.ok()) return source.status();
    source_ = *std::move(source);
    sound_ = source_->TakeAudio();
    summary_.audio_copied = sound_.has_value();
    const VideoInfo& video = source_->info();
    MotionTemplateInfo info;
    info.width = video.width;
    info.height = video.height;
    info.time_base_num = video.time_base_num;
    info.time_base_den = video.time_base_den;
    info.frame_rate_num = video.frame_rate_num;
    info.frame_rate_den = video.frame_rate_den;
    info.num_frames_hint = video.num_frames_hint;
    info.duration_seconds = video.duration_seconds;
    info.landmark_model_sha256 = options_.landmark_model_sha256;
    if (blendshapes_.has_value()) {
      info.blendshape_names = {kBlendshapeNames.begin(), kBlendshapeNames.end()};
    }
    writer_.Begin(info, sound_.has_value() ? &*sound_ : nullptr, bytes);
    return absl::OkStatus();
  }

  void Take(FaceSource::Frame& seen, std::string* bytes) {
    MotionTemplateFrame frame;
    frame.pts = seen.pts;
    frame.duration = seen.duration;
    frame.cut = seen.tracked.cut;
    frame.face = seen.tracked.faces[0];
    const int64_t index = writer_.num_frames();
    if (frame.cut) summary_.frame_notes.push_back({index, "begins a new scene"});
    if (!frame.face.landmarks.has_value()) {
      summary_.frame_notes.push_back({index, "no face found"});
    } else if (blendshapes_.has_value()) {
      frame.blendshapes =
          blendshapes_->Run(*frame.face.landmarks, source_->info().width, source_->info().height);
    }
    writer_.AddFrame(frame, bytes);
  }

  absl::Status End(std::string* bytes) {
    summary_.frames = writer_.num_frames();
    summary_.frames_with_face = writer_.num_frames_with_face();
    if (summary_.frames_with_face == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "no face found in any of the ", summary_.frames, " frames of the driving video"));
    }
    summary_.notes = source_->Notes();
    writer_.Finish(summary_.notes, bytes);
    source_.reset();
    done_ = true;
    return absl::OkStatus();
  }

  const TemplateMakerOptions options_;
  std::unique_ptr<FaceLandmarker> landmarker_;  // until there is a source, which owns it then
  std::optional<FaceBlendshapes> blendshapes_;
  std::atomic<bool> cancelled_{false};

  std::string file_;  // until it is opened
  bool finished_ = false;
  bool done_ = false;
  std::unique_ptr<FaceSource> source_;
  std::optional<AudioTrack> sound_;  // what is not yet written
  size_t next_packet_ = 0;
  MotionTemplateWriter writer_;
  MotionSummary summary_;
};

}  // namespace

std::unique_ptr<MotionExtraction> MakeTemplateMaker(const TemplateMakerOptions& options,
                                                    std::unique_ptr<FaceLandmarker> landmarker,
                                                    std::optional<FaceBlendshapes> blendshapes) {
  return std::make_unique<TemplateMaker>(options, std::move(landmarker), std::move(blendshapes));
}

}  // namespace reenact
