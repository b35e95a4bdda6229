// Clips to train on from somebody's videos and pictures (Anchored Diffusion, section 3.3 and
// Appendix B): segments (segments.h), then a filter on the identity, then the crop.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "training/curation/segments.h"

namespace reenact {

struct CurationOptions {
  SegmentRules rules;
  // A segment is discarded if any of its frames is farther than this from its first one, as 1 - the
  // cosine of their embeddings.
  double max_drift = 0.3;
  int frames = 8;  // kept of each segment, at irregular distances
  int size = 128;  // pixels
  uint64_t seed = 1;
};

// Says who is on a picture of a face: a vector of any length but zero.
using IdentityEmbedder = std::function<absl::StatusOr<std::vector<float>>(const Image& face)>;

struct CuratedClip {
  std::vector<Image> frames;         // size x size
  std::vector<Landmarks> landmarks;  // of `frames`
  double begin = 0, seconds = 0;     // in the video
  int64_t first_frame = 0, num_frames = 0;
  // What Appendix B counts.
  double resolution = 0;                               // pixels, side of the crop
  double face_width_ratio = 0, face_height_ratio = 0;  // medians, of the crop
  double sharpness = 0;  // variance of the kept frames' Laplacian, in levels squared
  double drift = 0;      // largest distance from the first frame; 0 without an embedder
};

struct CuratedVideo {
  std::vector<CuratedClip> clips;
  int64_t num_frames = 0, frames_with_face = 0;
  int num_cuts = 0;
  std::map<std::string, int> discarded;  // stretches, by why (segments.h), and "drift"
};

// The clips of a video file. Reads it twice, since crops follow from whole segments; never holds
// more than a frame and the clips. Errors as VideoReader and FaceLandmarker. `embed` may be null.
absl::StatusOr<CuratedVideo> CurateVideo(const std::string& bytes, FaceLandmarker& landmarker,
                                         const IdentityEmbedder& embed,
                                         const CurationOptions& options);

// One clip of a picture file by geometric transformations; none if it shows no face that is large
// enough. Errors as DecodeImage and FaceLandmarker.
absl::StatusOr<CuratedVideo> CurateStill(const std::string& bytes, FaceLandmarker& landmarker,
                                         const CurationOptions& options);

// 1 - the cosine of the angle between two vectors of one length.
double IdentityDistance(const std::vector<float>& a, const std::vector<float>& b);

// Variance of the discrete Laplacian of the grey picture: small where it is blurred.
double Sharpness(const Image& image);

}  // namespace reenact
