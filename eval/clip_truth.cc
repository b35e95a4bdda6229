#include "eval/clip_truth.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// Of 255, how much of a pixel must lie in a region.
constexpr int kRegionThreshold = 250;
// Pixels to the edge of a region from what is inside though its outline is a little off.
constexpr int kInnerReach = 3;
// Of a source's pixels, how many must show hair, or clothes, well inside to tell their colour.
constexpr double kShownShare = 0.01;

// Where `channel` of `regions` shows in a pixel and all others up to `reach` rows and columns away.
std::vector<uint8_t> Inside(const Image& regions, size_t channel, int reach) {
  const int width = regions.width, height = regions.height;
  const auto shows = [&](int x, int y) {
    return regions.rgb[static_cast<size_t>(y * width + x) * 3 + channel] >= kRegionThreshold;
  };
  std::vector<uint8_t> mask(static_cast<size_t>(width) * static_cast<size_t>(height), 0);
  const int across = 2 * reach + 1;
  for (int y = reach; y + reach < height; ++y) {
    for (int x = reach; x + reach < width; ++x) {
      bool all = true;
      for (int k = 0; k < across * across && all; ++k) {
        all = shows(x + k % across - reach, y + k / across - reach);
      }
      mask[static_cast<size_t>(y * width + x)] = all ? 1 : 0;
    }
  }
  return mask;
}

}  // namespace

std::vector<uint8_t> InnerRegion(const Image& regions, const Image& source, int channel) {
  const std::vector<uint8_t> shown = Inside(source, static_cast<size_t>(channel), kInnerReach);
  const auto pixels = std::count(shown.begin(), shown.end(), uint8_t{1});
  if (static_cast<double>(pixels) < kShownShare * static_cast<double>(shown.size())) {
    return std::vector<uint8_t>(shown.size(), 0);
  }
  return Inside(regions, static_cast<size_t>(channel), kInnerReach);
}

absl::StatusOr<Image> CropPortrait(const Image& portrait, int size, FaceLandmarker& landmarker,
                                   std::optional<FaceSignature>* signature, CropBox* crop) {
  const auto face = landmarker.Detect(portrait);
  if (!face.ok()) return face.status();
  if (!face->has_value()) return absl::FailedPreconditionError("no face found in the portrait");
  const Landmarks& landmarks = (*face)->landmarks;
  if (signature != nullptr) *signature = SignFace(portrait, landmarks);
  const CropBox box = FaceCrop({landmarks}, portrait.width, portrait.height);
  if (crop != nullptr) *crop = box;
  return CropImage(portrait, box, size);
}

absl::StatusOr<std::vector<std::optional<Landmarks>>> TrackFaces(const std::vector<Image>& frames,
                                                                 FaceLandmarker& landmarker) {
  landmarker.Reset();
  std::vector<std::optional<Landmarks>> tracked;
  for (const Image& frame : frames) {
    const auto face = landmarker.Track(frame);
    if (!face.ok()) return face.status();
    tracked.emplace_back();
    if (face->has_value()) tracked.back() = (*face)->landmarks;
  }
  return tracked;
}

absl::StatusOr<CropBox> DrivingCrop(absl::Span<const std::optional<Landmarks>> tracked, int width,
                                    int height) {
  std::vector<Landmarks> faces;
  for (const std::optional<Landmarks>& face : tracked) {
    if (face.has_value()) faces.push_back(*face);
  }
  if (faces.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no face found in any of the ", tracked.size(), " driving frames"));
  }
  return FaceCrop(faces, width, height);
}

absl::StatusOr<ClipTruth> MakeClipTruth(const HeldOutClip& clip,
                                        const std::vector<std::optional<Landmarks>>& tracked,
                                        int num_frames, const EvalNetworks& networks,
                                        FaceLandmarker& landmarker) {
  const int size = networks.image_size();
  ClipTruth truth;
  CropBox portrait_box;
  auto source =
      CropPortrait(clip.portrait, size, landmarker, &truth.source_signature, &portrait_box);
  if (!source.ok()) return source.status();
  const Image shown = CropImage(clip.portrait_regions, portrait_box, size);
  truth.source = *std::move(source);
  truth.source_embedding = networks.Embed(truth.source);

  const int width = clip.driving.front().width, height = clip.driving.front().height;
  const auto crop = DrivingCrop(absl::MakeConstSpan(tracked).first(static_cast<size_t>(num_frames)),
                                width, height);
  if (!crop.ok()) return crop.status();
  const CropBox& box = *crop;
  for (size_t i = 0; i < static_cast<size_t>(num_frames); ++i) {
    truth.driving.push_back(CropImage(clip.driving[i], box, size));
    truth.driving_found.emplace_back();
    if (tracked[i].has_value()) {
      truth.driving_found.back() = ToCrop(*tracked[i], box, width, height);
    }
    truth.frames.push_back(CropImage(clip.truth[i], box, size));
    truth.landmarks.push_back(ToCrop(clip.truth_landmarks[i], box, width, height));
    const Pose& pose = clip.states[i].pose;
    truth.angles.push_back({pose.yaw, pose.pitch, pose.roll});
    const Image regions = CropImage(clip.regions[i], box, size);
    truth.skin.push_back(Inside(regions, 0, 1));
    truth.hair.push_back(Inside(regions, 1, 1));
    truth.clothes.push_back(Inside(regions, 2, 1));
    truth.inner_hair.push_back(InnerRegion(regions, shown, 1));
    truth.inner_clothes.push_back(InnerRegion(regions, shown, 2));
    truth.expressive.push_back(ExpressiveMask(truth.landmarks.back(), size));
  }
  truth.driving_embeddings = networks.Embed(truth.driving);
  return truth;
}

}  // namespace reenact
