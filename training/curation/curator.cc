#include "training/curation/curator.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "pipeline/face/crop.h"
#include "pipeline/face/scene_cut.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_reader.h"
#include "training/curation/still_clip.h"
#include "training/people/random.h"

namespace reenact {
namespace {

double Seconds(int64_t units, const VideoInfo& info) {
  return static_cast<double>(units) * info.time_base_num / info.time_base_den;
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// `count` distinct frames of `total`, in order, the first among them; all if there are fewer, the
// last one repeated.
std::vector<int64_t> ChooseFrames(int64_t total, int count, uint64_t seed) {
  Random random(seed, 302);
  std::vector<int64_t> rest(static_cast<size_t>(total - 1));
  std::iota(rest.begin(), rest.end(), 1);
  const auto wanted = std::min<size_t>(rest.size(), static_cast<size_t>(count - 1));
  for (size_t i = 0; i < wanted; ++i) {
    std::swap(rest[i],
              rest[i + static_cast<size_t>(random.Index(static_cast<int>(rest.size() - i)))]);
  }
  rest.resize(wanted);
  rest.push_back(0);
  std::sort(rest.begin(), rest.end());
  while (rest.size() < static_cast<size_t>(count)) rest.push_back(rest.back());
  return rest;
}

struct Planned {
  Segment segment;
  CropBox box;
  std::vector<int64_t> frames;  // of the segment
};

void Measure(const std::vector<Landmarks>& landmarks, const CropBox& box, int width, int height,
             CuratedClip& clip) {
  std::vector<double> widths, heights;
  for (const Landmarks& frame : landmarks) {
    const FaceBox face = BoxOf(frame, width, height);
    widths.push_back(face.width() / box.side);
    heights.push_back(face.height() / box.side);
  }
  clip.face_width_ratio = Median(std::move(widths));
  clip.face_height_ratio = Median(std::move(heights));
  clip.resolution = box.side;
  for (const Image& frame : clip.frames) {
    clip.sharpness += Sharpness(frame) / static_cast<double>(clip.frames.size());
  }
}

}  // namespace

absl::StatusOr<CuratedVideo> CurateVideo(const std::string& bytes, FaceLandmarker& landmarker,
                                         const IdentityEmbedder& embed,
                                         const CurationOptions& options) {
  auto reader = VideoReader::Open(bytes);
  if (!reader.ok()) return reader.status();
  const VideoInfo info = (*reader)->info();
  CuratedVideo result;
  SceneCutDetector cuts;
  SegmentFinder finder(options.rules, info.width, info.height);
  landmarker.Reset();
  while (true) {
    const auto frame = (*reader)->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) break;
    const VideoFrame& shown = **frame;
    const bool is_cut = cuts.Next(shown.image);
    if (is_cut) {
      ++result.num_cuts;
      landmarker.Reset();
    }
    const auto face = landmarker.Track(shown.image);
    if (!face.ok()) return face.status();
    std::optional<Landmarks> landmarks;
    if (face->has_value()) landmarks = (*face)->landmarks;
    finder.Add(Seconds(shown.pts, info), Seconds(shown.pts + shown.duration, info), is_cut,
               landmarks);
    ++result.num_frames;
  }
  std::vector<Planned> plan;
  for (Segment& segment : finder.Finish()) {
    Planned& planned = plan.emplace_back();
    planned.box = FaceCrop(segment.landmarks, info.width, info.height);
    planned.frames =
        ChooseFrames(segment.num_frames(), options.frames,
                     options.seed * 1'000'003 + static_cast<uint64_t>(segment.first_frame));
    planned.segment = std::move(segment);
  }
  result.discarded = finder.too_short();
  result.frames_with_face = finder.frames_with_face();
  if (plan.empty()) return result;

  reader = VideoReader::Open(bytes);
  if (!reader.ok()) return reader.status();
  int64_t position = 0;
  for (const Planned& planned : plan) {
    const Segment& segment = planned.segment;
    CuratedClip clip;
    std::vector<float> first_identity;
    size_t next = 0;
    while (next < planned.frames.size()) {
      const int64_t wanted = segment.first_frame + planned.frames[next];
      if (position < wanted) {
        const absl::Status skipped = (*reader)->Skip(static_cast<int>(wanted - position));
        if (!skipped.ok()) return skipped;
        position = wanted;
      }
      const auto frame = (*reader)->Next();
      if (!frame.ok()) return frame.status();
      if (!frame->has_value()) return absl::InternalError("the video is shorter than it was");
      ++position;
      Image face = CropImage((*frame)->image, planned.box, options.size);
      if (embed != nullptr) {
        auto identity = embed(face);
        if (!identity.ok()) return identity.status();
        if (first_identity.empty()) first_identity = *identity;
        clip.drift = std::max(clip.drift, IdentityDistance(first_identity, *identity));
      }
      const Landmarks landmarks =
          ToCrop(segment.landmarks[static_cast<size_t>(planned.frames[next])], planned.box,
                 info.width, info.height);
      // A short segment's last frame may be wanted more than once.
      for (const int64_t same = planned.frames[next];
           next < planned.frames.size() && planned.frames[next] == same; ++next) {
        clip.frames.push_back(face);
        clip.landmarks.push_back(landmarks);
      }
    }
    if (clip.drift > options.max_drift) {
      ++result.discarded["drift"];
      continue;
    }
    clip.begin = segment.begin;
    clip.seconds = segment.end - segment.begin;
    clip.first_frame = segment.first_frame;
    clip.num_frames = segment.num_frames();
    Measure(segment.landmarks, planned.box, info.width, info.height, clip);
    result.clips.push_back(std::move(clip));
  }
  return result;
}

absl::StatusOr<CuratedVideo> CurateStill(const std::string& bytes, FaceLandmarker& landmarker,
                                         const CurationOptions& options) {
  const auto image = DecodeImage(bytes);
  if (!image.ok()) return image.status();
  const auto face = landmarker.Detect(*image);
  if (!face.ok()) return face.status();
  CuratedVideo result;
  result.num_frames = 1;
  if (!face->has_value()) {
    result.discarded["no face"] = 1;
    return result;
  }
  result.frames_with_face = 1;
  const Landmarks& landmarks = (*face)->landmarks;
  if (BoxOf(landmarks, image->width, image->height).side() < options.rules.min_face) {
    result.discarded["small face"] = 1;
    return result;
  }
  const CropBox box = FaceCrop({landmarks}, image->width, image->height);
  CuratedClip clip;
  clip.num_frames = 1;
  for (StillFrame& frame :
       AnimateStill(*image, landmarks, box, options.frames, options.size, options.seed)) {
    clip.frames.push_back(std::move(frame.image));
    clip.landmarks.push_back(frame.landmarks);
  }
  Measure({landmarks}, box, image->width, image->height, clip);
  result.clips.push_back(std::move(clip));
  return result;
}

double IdentityDistance(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return 1 - ab / std::sqrt(std::max(aa * bb, 1e-30));
}

double Sharpness(const Image& image) {
  if (image.width < 3 || image.height < 3) return 0;
  const auto grey = [&](int x, int y) {
    const uint8_t* p = image.row(y) + 3 * static_cast<size_t>(x);
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
  };
  double sum = 0, squares = 0;
  for (int y = 1; y + 1 < image.height; ++y) {
    for (int x = 1; x + 1 < image.width; ++x) {
      const double laplacian =
          grey(x - 1, y) + grey(x + 1, y) + grey(x, y - 1) + grey(x, y + 1) - 4 * grey(x, y);
      sum += laplacian;
      squares += laplacian * laplacian;
    }
  }
  const double count = static_cast<double>(image.width - 2) * (image.height - 2);
  return squares / count - (sum / count) * (sum / count);
}

}  // namespace reenact
