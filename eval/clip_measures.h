// What is measured of one clip: the paper's metrics (section 4.2) and more, from frames
// and the truth about them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/clip_truth.h"
#include "eval/embedding_metrics.h"
#include "eval/networks.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/image.h"

namespace reenact {

// A face's motion in numbers: degrees, shares of the IOD and of an eye's width
// (landmark_metrics.h).
struct FaceReading {
  HeadAngles angles;
  double mouth_gap = 0, eye_opening = 0, gaze_x = 0;
};

struct FrameMeasures {
  // What the landmark network reads off the frame; none: it finds no face. And the truth.
  std::optional<FaceReading> found;
  FaceReading truth;

  // Only where the truth's picture is what should be seen. Errors of landmarks in shares of the
  // IOD; LMSE in squared units of the crop; colours in levels of 255.
  std::optional<double> landmark_error, lmse, expressive_lmse;
  std::optional<double> psnr, psnr_expressive, ssim;
  std::optional<double> skin, hair, clothes, inner_hair, inner_clothes;
};

struct ClipMeasures {
  int index = 0;
  std::vector<FrameMeasures> frames;
  std::vector<Embedding> embeddings;  // of the frames

  double csim = 0;
  std::optional<double> self_csim;
  std::optional<double> leak;        // only if another person drives
  std::optional<double> less_alike;  // ShareLessAlike; none without other people
  // Mean Likeness() of the source's and the frames' face signatures: a second opinion on identity
  // that no bundle changes.
  std::optional<double> likeness;
  std::optional<double> jitter;          // shares of the IOD
  std::optional<double> driving_jitter;  // of the driving frames, read by the same network
  // Mean |difference| of neighbouring frames over that of the driving frames.
  std::optional<double> flicker;
};

struct MeasureOptions {
  // Whether the output should show ClipTruth::frames.
  bool aligned = true;
  bool cross = false;  // another person drives
};

// `frames`: as many as the truth's, S x S. `others`: source embeddings of other people.
absl::StatusOr<ClipMeasures> MeasureClip(const std::vector<Image>& frames, const ClipTruth& truth,
                                         const MeasureOptions& options,
                                         const std::vector<Embedding>& others,
                                         const EvalNetworks& networks, FaceLandmarker& landmarker);

}  // namespace reenact
