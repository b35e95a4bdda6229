// Synthetic people as drivers and sources: their landmarks are exact.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "pipeline/face/head_pose.h"
#include "pipeline/face/landmarks.h"
#include "training/people/people.h"

namespace reenact::testing {

// Only landmarks are wanted: the picture is as small as can be.
inline Landmarks ExactLandmarks(const PersonRenderer& person, const FaceState& state) {
  return person.Draw(state, 8, 1).landmarks;
}

inline std::vector<Landmarks> ExactLandmarks(const PersonRenderer& person,
                                             const std::vector<FaceState>& states) {
  std::vector<Landmarks> clip;
  clip.reserve(states.size());
  for (const FaceState& state : states) clip.push_back(ExactLandmarks(person, state));
  return clip;
}

inline FaceState With(const Pose& pose) { return {pose, {}, {}}; }
inline FaceState With(const Expression& expression) { return {{}, expression, {}}; }
inline FaceState With(const View& view) { return {{}, {}, view}; }

inline double EyeDistance(const Landmarks& face) {
  return std::hypot(face[33].x - face[263].x, face[33].y - face[263].y);
}

// The greatest difference of any coordinate.
inline double MaxDifference(const Landmarks& a, const Landmarks& b) {
  double max = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (const double d :
         {double{a[i].x} - b[i].x, double{a[i].y} - b[i].y, double{a[i].z} - b[i].z}) {
      if (!(std::abs(d) <= max)) max = std::abs(d);  // NaN stays
    }
  }
  return max;
}

// Mean distance between the surfaces of two faces, one put on the other by turning, moving and
// scaling it, over the distance of the eyes' outer corners.
inline double ShapeDifference(const Landmarks& face, const Landmarks& reference) {
  const HeadShape model = ToHead(reference, *FitHeadPose(reference));
  const HeadShape shape = ToHead(face, *FitHeadPose(face, model));
  double sum = 0;
  for (size_t i = 0; i < 468; ++i) sum += Length(shape[i] - model[i]);
  return sum / 468 / Length(model[33] - model[263]);
}

inline Landmarks Moved(const Landmarks& face, double scale, double x, double y) {
  Landmarks moved;
  for (size_t i = 0; i < face.size(); ++i) {
    moved[i] = {static_cast<float>(face[i].x * scale + x),
                static_cast<float>(face[i].y * scale + y), static_cast<float>(face[i].z * scale)};
  }
  return moved;
}

// Accumulates both sides of a correlation.
class Correlation {
 public:
  void Add(double a, double b) {
    ++count_, a_ += a, b_ += b, aa_ += a * a, bb_ += b * b, ab_ += a * b;
  }
  double Value() const {
    return Cross() / std::sqrt((aa_ - a_ * a_ / count_) * (bb_ - b_ * b_ / count_));
  }
  // Of b on a.
  double Slope() const { return Cross() / (aa_ - a_ * a_ / count_); }

 private:
  double Cross() const { return ab_ - a_ * b_ / count_; }

  double count_ = 0, a_ = 0, b_ = 0, aa_ = 0, bb_ = 0, ab_ = 0;
};

}  // namespace reenact::testing
