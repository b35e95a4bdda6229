#include "training/landmark_augmentation.h"

#include <cmath>
#include <numbers>

#include "pipeline/face/canonical_mesh.h"

namespace reenact {
namespace {

// A field is a sum of bumps centred on random landmarks: this many, this wide (cm on the mesh).
constexpr int kBumps = 8;
constexpr double kBumpRadius = 3;

}  // namespace

double DrawUniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

double DrawNormal(std::mt19937_64& random) {
  const double radius = std::sqrt(-2 * std::log(1 - DrawUniform(random)));
  return radius * std::cos(2 * std::numbers::pi * DrawUniform(random));
}

double EyeDistance(const Landmarks& l) {
  const double dx = 0.5 * (l[263].x + l[362].x - l[33].x - l[133].x);
  const double dy = 0.5 * (l[263].y + l[362].y - l[33].y - l[133].y);
  const double dz = 0.5 * (l[263].z + l[362].z - l[33].z - l[133].z);
  return std::sqrt(dx * dx + dy * dy + dz * dz);
}

double MeanDistance(const Landmarks& a, const Landmarks& b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    sum += std::sqrt(std::pow(a[k].x - b[k].x, 2) + std::pow(a[k].y - b[k].y, 2) +
                     std::pow(a[k].z - b[k].z, 2));
  }
  return sum / static_cast<double>(a.size());
}

LandmarkAugmentation::Field LandmarkAugmentation::DrawField(double rms, std::mt19937_64& random) {
  Field field{};
  double squares = 0;
  for (int b = 0; b < kBumps; ++b) {
    const auto& center = kCanonicalVertices[random() % kNumLandmarks];
    const std::array<double, 3> push = {DrawNormal(random), DrawNormal(random), DrawNormal(random)};
    for (size_t k = 0; k < field.size(); ++k) {
      double distance = 0;
      for (size_t axis = 0; axis < 3; ++axis) {
        distance += std::pow(kCanonicalVertices[k][axis] - center[axis], 2);
      }
      const double bump = std::exp(-0.5 * distance / (kBumpRadius * kBumpRadius));
      field[k].x += static_cast<float>(bump * push[0]);
      field[k].y += static_cast<float>(bump * push[1]);
      field[k].z += static_cast<float>(bump * push[2]);
    }
  }
  for (const Point3& p : field) squares += p.x * p.x + p.y * p.y + p.z * p.z;
  const double now = std::sqrt(squares / static_cast<double>(field.size()));
  const auto scale = static_cast<float>(rms / std::max(now, 1e-6));
  for (Point3& p : field) p = {p.x * scale, p.y * scale, p.z * scale};
  return field;
}

LandmarkAugmentation::LandmarkAugmentation(const AugmentationOptions& options, bool detected,
                                           std::mt19937_64& random)
    : options_(options),
      exact_(DrawUniform(random) < options.exact),
      faultless_(exact_ || detected),
      bias_(DrawField(options.bias * 2 * DrawUniform(random), random)) {
  const auto around_one = [&random](double range) {
    return 1 + range * (2 * DrawUniform(random) - 1);
  };
  const double scale = around_one(options.scale), aspect = around_one(options.aspect);
  scale_x_ = scale * aspect;
  scale_y_ = scale / aspect;
  shift_x_ = options.shift * (2 * DrawUniform(random) - 1);
  shift_y_ = options.shift * (2 * DrawUniform(random) - 1);
}

Landmarks LandmarkAugmentation::Distort(const Landmarks& landmarks, std::mt19937_64& random) const {
  if (faultless_) return landmarks;
  const auto unit = static_cast<float>(EyeDistance(landmarks));
  const Field jitter = DrawField(options_.jitter, random);
  Landmarks result = landmarks;
  for (size_t k = 0; k < result.size(); ++k) {
    result[k].x += unit * (bias_[k].x + jitter[k].x);
    result[k].y += unit * (bias_[k].y + jitter[k].y);
    result[k].z += unit * (bias_[k].z + jitter[k].z);
  }
  return result;
}

Landmarks LandmarkAugmentation::Source(const Landmarks& landmarks, std::mt19937_64& random) const {
  return Distort(landmarks, random);
}

Landmarks LandmarkAugmentation::Driving(const Landmarks& landmarks, std::mt19937_64& random) const {
  Landmarks result = Distort(landmarks, random);
  if (exact_) return result;
  double center_x = 0, center_y = 0;
  for (const Point3& p : result) {
    center_x += p.x / kNumLandmarks;
    center_y += p.y / kNumLandmarks;
  }
  for (Point3& p : result) {
    p.x = static_cast<float>(center_x + shift_x_ + (p.x - center_x) * scale_x_);
    p.y = static_cast<float>(center_y + shift_y_ + (p.y - center_y) * scale_y_);
    p.z = static_cast<float>(p.z * scale_x_);
  }
  return result;
}

}  // namespace reenact
