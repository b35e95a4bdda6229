#include "eval/clip_measures.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "eval/landmark_metrics.h"
#include "eval/picture_metrics.h"
#include "eval/statistics.h"
#include "pipeline/face/face_signature.h"
#include "pipeline/face/head_pose.h"
#include "pipeline/media/resize.h"

namespace reenact {
namespace {

// Faces are looked for in pictures of this size at least, like those of a driving video.
constexpr int kReadingSize = 256;

// The landmark network on generated frames, each by itself: a face that is only seen because the
// frame before showed one does not count as found.
absl::StatusOr<std::vector<std::optional<Landmarks>>> FindFaces(const std::vector<Image>& frames,
                                                                FaceLandmarker& landmarker) {
  std::vector<std::optional<Landmarks>> faces;
  for (const Image& frame : frames) {
    const auto face = frame.width < kReadingSize
                          ? landmarker.Detect(ResizeImage(frame, kReadingSize, kReadingSize))
                          : landmarker.Detect(frame);
    if (!face.ok()) return face.status();
    faces.emplace_back();
    if (face->has_value()) faces.back() = (*face)->landmarks;
  }
  return faces;
}

FaceReading ReadFace(const HeadAngles& angles, const Landmarks& face) {
  return {angles, MouthGap(face), EyeOpening(face), GazeX(face)};
}

std::optional<FaceReading> Read(const Landmarks& face) {
  const auto pose = FitHeadPose(face);
  if (!pose.has_value()) return std::nullopt;
  return ReadFace(AnglesOf(pose->rotation), face);
}

// What only an aligned truth can say.
void Compare(const Image& frame, const std::optional<Landmarks>& found, const ClipTruth& truth,
             size_t i, FrameMeasures* measures) {
  const Image& expected = truth.frames[i];
  measures->psnr = Psnr(frame, expected);
  measures->psnr_expressive = MaskedPsnr(frame, expected, truth.expressive[i]);
  measures->ssim = Ssim(frame, expected);
  measures->skin = ColourError(frame, expected, truth.skin[i]);
  measures->hair = ColourError(frame, expected, truth.hair[i]);
  measures->clothes = ColourError(frame, expected, truth.clothes[i]);
  measures->inner_hair = ColourError(frame, expected, truth.inner_hair[i]);
  measures->inner_clothes = ColourError(frame, expected, truth.inner_clothes[i]);
  if (!found.has_value()) return;
  measures->landmark_error = LandmarkError(truth.landmarks[i], *found);
  if (!truth.driving_found[i].has_value()) return;
  measures->lmse = Lmse(*truth.driving_found[i], *found);
  measures->expressive_lmse = ExpressiveLmse(*truth.driving_found[i], *found);
}

std::optional<double> Flicker(const std::vector<Image>& frames, const std::vector<Image>& driving) {
  double generated = 0, truth = 0;
  for (size_t i = 1; i < frames.size(); ++i) {
    generated += MeanDifference(frames[i - 1], frames[i]);
    truth += MeanDifference(driving[i - 1], driving[i]);
  }
  if (truth == 0) return std::nullopt;
  return generated / truth;
}

}  // namespace

absl::StatusOr<ClipMeasures> MeasureClip(const std::vector<Image>& frames, const ClipTruth& truth,
                                         const MeasureOptions& options,
                                         const std::vector<Embedding>& others,
                                         const EvalNetworks& networks, FaceLandmarker& landmarker) {
  if (frames.size() != truth.frames.size() || frames.empty()) {
    return absl::InternalError(
        absl::StrCat(frames.size(), " frames came for ", truth.frames.size()));
  }
  const auto found = FindFaces(frames, landmarker);
  if (!found.ok()) return found.status();
  ClipMeasures clip;
  Mean likeness;
  for (size_t i = 0; i < frames.size(); ++i) {
    FrameMeasures measures;
    measures.truth = ReadFace(truth.angles[i], truth.landmarks[i]);
    const std::optional<Landmarks>& face = (*found)[i];
    if (face.has_value()) {
      measures.found = Read(*face);
      const auto signature = SignFace(frames[i], *face);
      if (signature.has_value() && truth.source_signature.has_value()) {
        likeness.Add(Likeness(*truth.source_signature, *signature));
      }
    }
    if (options.aligned) Compare(frames[i], face, truth, i, &measures);
    clip.frames.push_back(measures);
  }
  clip.embeddings = networks.Embed(frames);
  clip.csim = Csim(truth.source_embedding, clip.embeddings);
  clip.self_csim = SelfCsim(clip.embeddings, truth.driving_embeddings);
  if (options.cross) {
    clip.leak = IdentityLeak(truth.source_embedding, MeanEmbedding(truth.driving_embeddings),
                             clip.embeddings);
  }
  if (!others.empty()) {
    clip.less_alike = ShareLessAlike(truth.source_embedding, others, clip.embeddings);
  }
  clip.likeness = likeness.value();
  clip.jitter = Jitter(*found);
  clip.driving_jitter = Jitter(truth.driving_found);
  clip.flicker = Flicker(frames, truth.driving);
  return clip;
}

}  // namespace reenact
