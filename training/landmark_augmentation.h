// Makes exact landmarks look like detected ones, and any like another person's.
//
// A detector is off in a way that hardly changes from frame to frame (its bias: a smooth field over
// the face) plus a little that does. A driver's face is larger or smaller than the source's.
// Training on such landmarks keeps the network from reading either as identity.
// Pure functions of the random source, thread-safe.
#pragma once

#include <array>
#include <random>

#include "pipeline/face/landmarks.h"

namespace reenact {

struct AugmentationOptions {
  // Lengths as shares of the distance between the eyes' centres.
  double bias = 0.03;     // rms of the field that stays the same during a clip
  double jitter = 0.006;  // rms of the field that changes from frame to frame
  // Of the driver's face against the source's, as ratios; uniform within +- these.
  double scale = 0.04;
  double aspect = 0.04;
  double shift = 0.01;  // of the picture
  // The share of clips that are left as they are.
  double exact = 0.2;
};

// One draw per clip, applied to all its frames and to its source.
class LandmarkAugmentation {
 public:
  // All drawing is done here. `detected`: the landmarks have a detector's faults already.
  LandmarkAugmentation(const AugmentationOptions& options, bool detected, std::mt19937_64& random);

  // Of the source's own landmarks: the detector's faults only.
  Landmarks Source(const Landmarks& landmarks, std::mt19937_64& random) const;
  // Of a driving frame: the faults and the other face.
  Landmarks Driving(const Landmarks& landmarks, std::mt19937_64& random) const;

 private:
  // Offsets of a smooth field, one per landmark, in units of the distance between the eyes.
  using Field = std::array<Point3, kNumLandmarks>;
  static Field DrawField(double rms, std::mt19937_64& random);
  Landmarks Distort(const Landmarks& landmarks, std::mt19937_64& random) const;

  const AugmentationOptions options_;
  const bool exact_;
  const bool faultless_;  // no faults are added
  Field bias_;
  double scale_x_ = 1, scale_y_ = 1, shift_x_ = 0, shift_y_ = 0;
};

// The distance of the eyes' centres (means of points 33, 133 and of 263, 362), in the units of x.
double EyeDistance(const Landmarks& landmarks);

// The mean distance of corresponding points, in the units of x.
double MeanDistance(const Landmarks& a, const Landmarks& b);

// Uniform in [0, 1) and N(0, 1), the same with every standard library.
double DrawUniform(std::mt19937_64& random);
double DrawNormal(std::mt19937_64& random);

}  // namespace reenact
