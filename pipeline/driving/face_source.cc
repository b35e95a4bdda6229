#include "pipeline/driving/face_source.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "pipeline/driving/motion_template.h"
#include "pipeline/media/image_codec.h"

namespace reenact {
namespace {

absl::Status Prefixed(absl::string_view prefix, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(prefix, ": ", status.message()));
}

std::string FrameName(int64_t frame) { return absl::StrCat("driving frame ", frame); }

FaceTracker::Options TrackerOptions(const std::vector<FaceChoice>& faces) {
  FaceTracker::Options options;
  options.faces = faces;
  return options;
}

// Pictures in which the faces are looked for.
class PictureSource : public FaceSource {
 public:
  PictureSource(const FaceSourceOptions& options, std::unique_ptr<FaceLandmarker> landmarker)
      : landmarker_(std::move(landmarker)), tracker_(TrackerOptions(options.faces), *landmarker_) {
    landmarker_->Reset();
  }

  absl::StatusOr<std::optional<Frame>> Next() override {
    const absl::Time start = absl::Now();
    auto picture = NextPicture();
    if (!picture.ok()) return Prefixed("driving video", picture.status());
    const absl::Time decoded = absl::Now();
    decode_time_ += decoded - start;
    if (!picture->has_value()) return std::nullopt;
    auto tracked = tracker_.Next((*picture)->image);
    landmark_time_ += absl::Now() - decoded;
    if (!tracked.ok()) return Prefixed(FrameName(num_frames_), tracked.status());
    ++num_frames_;
    return Frame{(*picture)->pts, (*picture)->duration, {}, *std::move(tracked)};
  }

 protected:
  virtual absl::StatusOr<std::optional<VideoFrame>> NextPicture() = 0;

 private:
  const std::unique_ptr<FaceLandmarker> landmarker_;
  FaceTracker tracker_;
  int64_t num_frames_ = 0;
};

class VideoSource final : public PictureSource {
 public:
  using PictureSource::PictureSource;

  absl::Status Open(std::string file, const FaceSourceOptions& options) {
    VideoLimits limits;
    limits.max_frames = options.max_frames;
    limits.max_pixels = options.max_pixels;
    auto reader = VideoReader::Open(std::move(file), limits);
    if (!reader.ok()) return reader.status();
    reader_ = *std::move(reader);
    if (!options.read_audio) return absl::OkStatus();
    auto audio = reader_->ReadAudio();
    if (!audio.ok()) return audio.status();
    audio_note_ = audio->note;
    if (!audio->empty()) audio_ = *std::move(audio);
    return absl::OkStatus();
  }

  const VideoInfo& info() const override { return reader_->info(); }
  std::optional<AudioTrack> TakeAudio() override { return std::exchange(audio_, std::nullopt); }

  std::vector<std::string> Notes() const override {
    std::vector<std::string> notes;
    if (!audio_note_.empty()) notes.push_back(audio_note_);
    for (std::string& note : DescribeReport(reader_->info(), reader_->report(), "driving video")) {
      notes.push_back(std::move(note));
    }
    return notes;
  }

 protected:
  absl::StatusOr<std::optional<VideoFrame>> NextPicture() override { return reader_->Next(); }

 private:
  std::unique_ptr<VideoReader> reader_;
  std::optional<AudioTrack> audio_;
  std::string audio_note_;
};

// One picture, shown for as long as one frame of kSingleFrameRate.
class StillSource final : public PictureSource {
 public:
  using PictureSource::PictureSource;

  absl::Status Open(absl::string_view file, const FaceSourceOptions& options) {
    ImageLimits limits;
    limits.max_pixels = options.max_pixels;
    auto image = DecodeImage({file.data(), file.size()}, limits);
    if (!image.ok()) return image.status();
    info_.width = image->width;
    info_.height = image->height;
    info_.time_base_num = 1;
    info_.time_base_den = kSingleFrameRate;
    info_.frame_rate_num = kSingleFrameRate;
    info_.num_frames_hint = 1;
    info_.duration_seconds = 1.0 / kSingleFrameRate;
    image_ = *std::move(image);
    return absl::OkStatus();
  }

  const VideoInfo& info() const override { return info_; }

  std::vector<std::string> Notes() const override {
    return {absl::StrCat("the driving media is a still picture: one frame of ",
                         1000 / kSingleFrameRate, " ms")};
  }

 protected:
  absl::StatusOr<std::optional<VideoFrame>> NextPicture() override {
    if (image_.empty()) return std::nullopt;
    return VideoFrame{std::exchange(image_, Image()), 0, 1};
  }

 private:
  VideoInfo info_;
  Image image_;
};

// What was seen by whoever made the template.
class TemplateSource final : public FaceSource {
 public:
  absl::Status Open(std::string file, const FaceSourceOptions& options) {
    if (options.faces.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("further_faces has ", options.faces.size() - 1,
                       " entries, must have none with a motion template, which holds one face"));
    }
    if (options.faces[0].by != FaceChoice::By::kLargest) {
      return absl::InvalidArgumentError(
          "driver_face is set, must not be with a motion template: its face was chosen when it was "
          "made");
    }
    MotionTemplateReader::Limits limits;
    limits.max_frames = options.max_frames;
    auto reader = MotionTemplateReader::Open(std::move(file), limits);
    if (!reader.ok()) return reader.status();
    reader_ = *std::move(reader);
    const MotionTemplateInfo& info = reader_->info();
    info_.width = info.width;
    info_.height = info.height;
    info_.time_base_num = info.time_base_num;
    info_.time_base_den = info.time_base_den;
    info_.frame_rate_num = info.frame_rate_num;
    info_.frame_rate_den = info.frame_rate_den;
    info_.num_frames_hint = info.num_frames_hint;
    info_.duration_seconds = info.duration_seconds;
    info_.container = "motion template";
    info_.has_audio = reader_->has_sound();
    if (!options.read_audio) return absl::OkStatus();
    auto sound = reader_->ReadSound();
    if (!sound.ok()) return sound.status();
    if (!sound->empty()) audio_ = *std::move(sound);
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Frame>> Next() override {
    const absl::Time start = absl::Now();
    auto frame = reader_->Next();
    decode_time_ += absl::Now() - start;
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return std::nullopt;
    TrackedFrame tracked;
    tracked.cut = (*frame)->cut;
    tracked.num_faces = (*frame)->face.landmarks.has_value() ? 1 : 0;
    tracked.faces.push_back((*frame)->face);
    return Frame{(*frame)->pts, (*frame)->duration, {}, std::move(tracked)};
  }

  const VideoInfo& info() const override { return info_; }
  std::optional<AudioTrack> TakeAudio() override { return std::exchange(audio_, std::nullopt); }
  std::vector<std::string> Notes() const override { return reader_->notes(); }

 private:
  std::unique_ptr<MotionTemplateReader> reader_;
  VideoInfo info_;
  std::optional<AudioTrack> audio_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FaceSource>> OpenFaceSource(
    std::string file, const FaceSourceOptions& options,
    std::unique_ptr<FaceLandmarker> landmarker) {
  if (LooksLikeMotionTemplate(file)) {
    auto source = std::make_unique<TemplateSource>();
    if (auto status = source->Open(std::move(file), options); !status.ok()) return status;
    return source;
  }
  if (LooksLikePicture(file)) {
    auto source = std::make_unique<StillSource>(options, std::move(landmarker));
    if (auto status = source->Open(file, options); !status.ok()) {
      return Prefixed("driving picture", status);
    }
    return source;
  }
  auto source = std::make_unique<VideoSource>(options, std::move(landmarker));
  if (auto status = source->Open(std::move(file), options); !status.ok()) {
    return Prefixed("driving video", status);
  }
  return source;
}

LiveFaceSource::LiveFaceSource(const FaceSourceOptions& options, const LiveOptions& live,
                               std::unique_ptr<FaceLandmarker> landmarker)
    : max_pixels_(options.max_pixels),
      landmarker_(std::move(landmarker)),
      tracker_(TrackerOptions(options.faces), *landmarker_) {
  landmarker_->Reset();
  info_.time_base_num = live.time_base_num;
  info_.time_base_den = live.time_base_den;
}

absl::Status LiveFaceSource::Add(LiveFrame frame) {
  if (last_pts_.has_value() && frame.pts <= *last_pts_) {
    return absl::InvalidArgumentError(
        absl::StrCat(FrameName(num_frames_ + static_cast<int64_t>(frames_.size())), ": pts is ",
                     frame.pts, ", must be above ", *last_pts_, ", that of the frame before"));
  }
  last_pts_ = frame.pts;
  frames_.push_back(std::move(frame));
  return absl::OkStatus();
}

absl::StatusOr<Image> LiveFaceSource::Decode(const LiveFrame& frame) {
  ImageLimits limits;
  limits.max_pixels = max_pixels_;
  auto image = DecodeImage(frame.image, limits);
  if (!image.ok()) return Prefixed(FrameName(num_frames_), image.status());
  if (num_frames_ == 0) {
    info_.width = image->width;
    info_.height = image->height;
  } else if (image->width != info_.width || image->height != info_.height) {
    return absl::InvalidArgumentError(
        absl::StrCat(FrameName(num_frames_), " has ", image->width, "x", image->height,
                     " pixels, must have ", info_.width, "x", info_.height, " like frame 0"));
  }
  return image;
}

absl::StatusOr<std::optional<FaceSource::Frame>> LiveFaceSource::Next() {
  if (frames_.empty()) return std::nullopt;
  const LiveFrame frame = std::move(frames_.front());
  frames_.pop_front();
  const absl::Time start = absl::Now();
  const auto image = Decode(frame);
  if (!image.ok()) return image.status();
  const absl::Time decoded = absl::Now();
  decode_time_ += decoded - start;
  auto tracked = tracker_.Next(*image);
  landmark_time_ += absl::Now() - decoded;
  if (!tracked.ok()) return Prefixed(FrameName(num_frames_), tracked.status());
  ++num_frames_;
  return Frame{frame.pts, 0, frame.arrived, *std::move(tracked)};
}

}  // namespace reenact
