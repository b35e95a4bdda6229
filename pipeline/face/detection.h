// Faces from the raw output of MediaPipe's short-range detector (BlazeFace).
//
// Coordinates are in units of the network's square input. Pure functions.
#pragma once

#include <array>
#include <vector>

#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/roi.h"

namespace reenact {

inline constexpr int kDetectorSide = 128;
inline constexpr int kNumAnchors = 896;
inline constexpr int kNumKeypoints = 6;
// Box and keypoints of one anchor.
inline constexpr int kNumCoordinates = 4 + 2 * kNumKeypoints;

struct Detection {
  Box box;
  // Right eye, left eye (the subject's), nose tip, mouth, right ear, left ear; z is not used.
  std::array<Point3, kNumKeypoints> keypoints;
  float score = 0;
};

// Centres of the 896 anchors: 16 x 16 cells with 2 each, then 8 x 8 with 6.
std::vector<Point3> DetectorAnchors();

// `boxes` [896, 16] and `logits` [896]. Keeps those with a probability of at least `min_score` and
// a box that is one.
std::vector<Detection> DecodeDetections(absl::Span<const float> boxes,
                                        absl::Span<const float> logits,
                                        const std::vector<Point3>& anchors, float min_score);

// Best first. Every detection that overlaps the best by more than `max_overlap` (intersection over
// union) is merged into it: positions are score-weighted means, the score is the best one's own.
std::vector<Detection> MergeOverlapping(std::vector<Detection> detections, float max_overlap);

}  // namespace reenact
