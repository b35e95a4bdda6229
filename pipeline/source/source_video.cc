#include "pipeline/source/source_video.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "pipeline/face/head_pose.h"

namespace reenact {
namespace {

// Degrees off the front at which a view is worth exp(-1/2), and likewise the mouth's opening in
// units of the face's height.
constexpr double kSideways = 15;
constexpr double kMouthOpen = 0.05;
// From here on eyes are open, and a face is large enough: height over width of the eye, pixels.
constexpr double kEyesOpen = 0.22;
constexpr double kLargeFace = 200;
// Sharpness is looked at in so many pixels a side.
constexpr int kSharpSide = 96;

double Gauss(double x) { return std::exp(-x * x / 2); }

double Distance(const Landmarks& face, int a, int b) {
  return std::hypot(face[a].x - face[b].x, face[a].y - face[b].y);
}

// Mean second difference of the middle of the crop, in levels.
double Sharpness(const Image& crop) {
  const int side = crop.width;
  const auto luma = [&](int x, int y) {
    const uint8_t* p = crop.row(y) + 3 * x;
    return 0.3 * p[0] + 0.59 * p[1] + 0.11 * p[2];
  };
  double sum = 0;
  int count = 0;
  for (int y = side / 4; y < side * 3 / 4; ++y) {
    for (int x = side / 4; x < side * 3 / 4; ++x) {
      sum += std::abs(4 * luma(x, y) - luma(x - 1, y) - luma(x + 1, y) - luma(x, y - 1) -
                      luma(x, y + 1));
      ++count;
    }
  }
  return sum / count;
}

}  // namespace

double FaceQuality(const Image& image, const Landmarks& landmarks, double confidence) {
  const CropBox box = FaceCrop({landmarks}, image.width, image.height);
  if (!(box.side > 0) || !std::isfinite(box.side)) return 1e-9;
  const Landmarks face = ToCrop(landmarks, box, image.width, image.height);
  double quality = confidence * confidence;
  if (const auto pose = FitHeadPose(face); pose.has_value()) {
    const HeadAngles angles = AnglesOf(pose->rotation);
    quality *= Gauss(std::hypot(angles.yaw, angles.pitch) / kSideways);
  } else {
    quality *= 0.01;
  }
  // Between the lips, between the lids, and over the whole face (MediaPipe's numbering).
  const double height = std::max(Distance(face, 10, 152), 1e-6);
  quality *= Gauss(Distance(face, 13, 14) / height / kMouthOpen);
  const double eyes = Distance(face, 159, 145) / std::max(Distance(face, 33, 133), 1e-6) +
                      Distance(face, 386, 374) / std::max(Distance(face, 362, 263), 1e-6);
  quality *= std::min(eyes / 2 / kEyesOpen, 1.0);
  quality *= std::sqrt(std::min(height * box.side / kLargeFace, 1.0));
  quality *= std::sqrt(Sharpness(CropImage(image, box, kSharpSide)) + 0.5);
  return std::max(quality, 1e-9);
}

SourceVideo::SourceVideo(const Options& options, std::unique_ptr<FaceLandmarker> landmarker)
    : options_(options),
      landmarker_(std::move(landmarker)),
      tracker_({.faces = options.faces, .depth = 1, .choose_after_cut = false}, *landmarker_),
      best_(options.faces.size()) {}

absl::StatusOr<std::unique_ptr<SourceVideo>> SourceVideo::Open(
    std::string bytes, const Options& options, std::unique_ptr<FaceLandmarker> landmarker) {
  std::unique_ptr<SourceVideo> video(new SourceVideo(options, std::move(landmarker)));
  if (options.keeps_places) video->bytes_ = bytes;
  auto reader = VideoReader::Open(std::move(bytes), options.limits);
  if (!reader.ok()) return reader.status();
  video->reader_ = *std::move(reader);
  const VideoInfo& info = video->reader_->info();
  video->paths_.assign(options.faces.size(), FacePath(info.width, info.height));
  return video;
}

absl::StatusOr<bool> SourceVideo::ReadFrame() {
  const absl::Time start = absl::Now();
  auto frame = reader_->Next();
  if (!frame.ok()) return frame.status();
  const absl::Time decoded = absl::Now();
  decode_time_ += decoded - start;
  if (!frame->has_value()) return false;
  const VideoInfo& info = reader_->info();
  const auto seconds = [&info](int64_t units) {
    return static_cast<double>(units) * info.time_base_num / info.time_base_den;
  };
  if (starts_.empty()) first_pts_ = (*frame)->pts;
  const double at = seconds((*frame)->pts - first_pts_);
  duration_ = at + seconds((*frame)->duration);
  const auto index = static_cast<int>(starts_.size());
  starts_.push_back(at);

  auto tracked = tracker_.Next((*frame)->image);
  if (!tracked.ok()) {
    return absl::Status(tracked.status().code(),
                        absl::StrCat("frame ", index, ": ", tracked.status().message()));
  }
  const Image* image = &(*frame)->image;
  for (size_t i = 0; i < best_.size(); ++i) {
    const TrackedFace& face = tracked->faces[i];
    if (options_.keeps_places) paths_[i].Add(face.landmarks, tracked->cut, at);
    if (!face.landmarks.has_value()) continue;
    const double quality = FaceQuality(*image, *face.landmarks, face.confidence);
    if (best_[i].has_value() && quality <= best_[i]->quality) continue;
    best_[i] = {index, at, *image, *face.landmarks, quality};
  }
  landmark_time_ += absl::Now() - decoded;
  return true;
}

std::unique_ptr<SourceClip> SourceVideo::TakeClip(const std::vector<CropBox>& boxes) {
  for (size_t i = 0; i < paths_.size(); ++i) {
    paths_[i].Settle(best_[i]->index, boxes[i]);
    num_guessed_ += paths_[i].num_guessed();
    num_without_ += paths_[i].num_without();
  }
  const VideoInfo& info = reader_->info();
  SourceFrames frames(std::move(bytes_), std::move(starts_), duration_,
                      {.limits = options_.limits});
  return std::make_unique<SourceClip>(std::move(frames), std::move(paths_), info.width,
                                      info.height);
}

std::vector<std::string> SourceVideo::Notes() const {
  std::vector<std::string> notes =
      DescribeReport(reader_->info(), reader_->report(), "source video");
  for (size_t i = 0; i < best_.size(); ++i) {
    if (!best_[i].has_value()) continue;
    notes.push_back(absl::StrFormat(
        "the source%s is taken from frame %d of the source video, at "
        "%.2f s, which shows the face best",
        best_.size() == 1 ? "" : absl::StrCat("'s face ", i), best_[i]->index, best_[i]->seconds));
  }
  if (num_guessed_ > 0) {
    notes.push_back(absl::StrCat("no face found in ", num_guessed_,
                                 " frames of the source video, placed as in their neighbours"));
  }
  if (num_without_ > 0) {
    notes.push_back(absl::StrCat("no face found in the scenes of ", num_without_,
                                 " frames of the source video, which stay as they are"));
  }
  return notes;
}

}  // namespace reenact
