// A held-out clip as the engine's output should show it: everything in the crops that the engine
// makes of portrait and driving video.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "eval/embedding_metrics.h"
#include "eval/held_out_clip.h"
#include "eval/networks.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_signature.h"
#include "pipeline/face/head_pose.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// Landmarks are in units of the crop. S = the model's image_size.
struct ClipTruth {
  Image source;  // S x S
  Embedding source_embedding;
  std::optional<FaceSignature> source_signature;

  std::vector<Image> driving;                           // S x S
  std::vector<std::optional<Landmarks>> driving_found;  // by the landmark network
  std::vector<Embedding> driving_embeddings;

  // With absolute motion the output shows this; with relative motion only the angles and the
  // expression are comparable.
  std::vector<Image> frames;         // S x S
  std::vector<Landmarks> landmarks;  // exact
  std::vector<HeadAngles> angles;    // exact
  // S * S bytes each, row-major: 1 well inside the region.
  std::vector<std::vector<uint8_t>> skin, hair, clothes, expressive;
  // InnerRegion() of hair and clothes.
  std::vector<std::vector<uint8_t>> inner_hair, inner_clothes;
};

// Of `channel` of `regions` (HeldOutClip::regions) what is 3 pixels and more from its edges.
// Nothing where that is less than a hundredth of the `source`'s regions: nobody can tell the colour
// of clothes from such a picture. -> a byte per pixel, row-major
std::vector<uint8_t> InnerRegion(const Image& regions, const Image& source, int channel);

// The square that the engine makes of a portrait; where it lies, to `crop`. kFailedPrecondition: no
// face is found.
absl::StatusOr<Image> CropPortrait(const Image& portrait, int size, FaceLandmarker& landmarker,
                                   std::optional<FaceSignature>* signature = nullptr,
                                   CropBox* crop = nullptr);

// The landmark network on the driving frames, in units of the picture; the landmarker's Track().
absl::StatusOr<std::vector<std::optional<Landmarks>>> TrackFaces(const std::vector<Image>& frames,
                                                                 FaceLandmarker& landmarker);

// The square of a driving video of `width` x `height` that the engine generates: around all of its
// faces. kFailedPrecondition: there is none.
absl::StatusOr<CropBox> DrivingCrop(absl::Span<const std::optional<Landmarks>> tracked, int width,
                                    int height);

// The first `num_frames` of the clip. `tracked` are TrackFaces() of its driving frames.
// kFailedPrecondition: no face in the portrait, or in none of the driving frames.
absl::StatusOr<ClipTruth> MakeClipTruth(const HeldOutClip& clip,
                                        const std::vector<std::optional<Landmarks>>& tracked,
                                        int num_frames, const EvalNetworks& networks,
                                        FaceLandmarker& landmarker);

}  // namespace reenact
