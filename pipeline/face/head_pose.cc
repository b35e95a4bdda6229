#include "pipeline/face/head_pose.h"

#include <algorithm>
#include <cmath>

#include "pipeline/face/canonical_mesh.h"
#include "pipeline/face/motion_regions.h"

namespace reenact {
namespace {

constexpr double kRadiansPerDegree = 3.14159265358979323846 / 180;

// Distance from the model, in cm, at which a point counts half (Cauchy's weight). Identities differ
// by about half of it.
constexpr double kHalfWeightDistance = 0.8;
// Share of a point's measured depth in what is fitted; the rest is the model's own depth.
constexpr double kDepthTrust = 0.5;
constexpr int kMaxIterations = 20;
// The irises, which come last, count nothing.
constexpr size_t kNumWeighted = MotionRegions::kIrises;
// Further iterations would change rotation (as a quaternion) and size by less.
constexpr double kConverged = 1e-6;
// A face is explained up to a rest of about 0.06 of its radius, nothing else below 0.3.
constexpr double kMaxRest = 0.3;

using Matrix4 = std::array<std::array<double, 4>, 4>;

// The eigenvector of the greatest eigenvalue of a symmetric matrix: cyclic Jacobi.
std::array<double, 4> GreatestEigenvector(Matrix4 a) {
  Matrix4 v{};
  for (size_t i = 0; i < 4; ++i) v[i][i] = 1;
  for (int sweep = 0; sweep < 12; ++sweep) {
    double off = 0, diagonal = 0;
    for (size_t p = 0; p < 4; ++p) {
      diagonal += a[p][p] * a[p][p];
      for (size_t q = p + 1; q < 4; ++q) off += a[p][q] * a[p][q];
    }
    if (!(off > 1e-30 * diagonal)) break;
    for (size_t p = 0; p < 3; ++p) {
      for (size_t q = p + 1; q < 4; ++q) {
        if (a[p][q] == 0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = std::copysign(1 / (std::abs(theta) + std::sqrt(theta * theta + 1)), theta);
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (size_t k = 0; k < 4; ++k) {
          const double kp = a[k][p], kq = a[k][q];
          a[k][p] = c * kp - s * kq;
          a[k][q] = s * kp + c * kq;
        }
        for (size_t k = 0; k < 4; ++k) {
          const double pk = a[p][k], qk = a[q][k];
          a[p][k] = c * pk - s * qk;
          a[q][k] = s * pk + c * qk;
        }
        for (size_t k = 0; k < 4; ++k) {
          const double kp = v[k][p], kq = v[k][q];
          v[k][p] = c * kp - s * kq;
          v[k][q] = s * kp + c * kq;
        }
      }
    }
  }
  size_t best = 0;
  for (size_t i = 1; i < 4; ++i) {
    if (a[i][i] > a[best][best]) best = i;
  }
  return {v[0][best], v[1][best], v[2][best], v[3][best]};
}

Quaternion Normalized(const Quaternion& q) {
  const double norm = std::sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);
  if (!(norm > 0)) return {};
  return {q.w / norm, q.x / norm, q.y / norm, q.z / norm};
}

// The same rotation, faster for many points.
class RotationMatrix {
 public:
  explicit RotationMatrix(const Quaternion& q)
      : x_(q({1, 0, 0})), y_(q({0, 1, 0})), z_(q({0, 0, 1})) {}
  Vector3 operator()(const Vector3& v) const { return x_ * v.x + y_ * v.y + z_ * v.z; }

 private:
  Vector3 x_, y_, z_;  // columns
};

struct Similarity {
  Quaternion rotation;
  Vector3 translation;
  double scale = 0;  // 0: the points do not say
};

// The similarity that takes `from` closest to `to` in weighted least squares: rotation after Horn
// (1987), scale after Umeyama (1991). Never a reflection.
Similarity FitSimilarity(const HeadShape& from, const HeadShape& to,
                         const std::array<double, kNumLandmarks>& weights) {
  double total = 0;
  Vector3 from_mean, to_mean;
  for (size_t i = 0; i < kNumWeighted; ++i) {
    total += weights[i];
    from_mean += from[i] * weights[i];
    to_mean += to[i] * weights[i];
  }
  if (!(total > 0)) return {};
  from_mean = from_mean * (1 / total);
  to_mean = to_mean * (1 / total);

  double spread = 0;
  std::array<std::array<double, 3>, 3> m{};  // sum of weight * from * to^T
  for (size_t i = 0; i < kNumWeighted; ++i) {
    const Vector3 f = from[i] - from_mean, t = to[i] - to_mean;
    spread += weights[i] * Dot(f, f);
    const double a[3] = {f.x * weights[i], f.y * weights[i], f.z * weights[i]},
                 b[3] = {t.x, t.y, t.z};
    for (size_t r = 0; r < 3; ++r) {
      for (size_t c = 0; c < 3; ++c) m[r][c] += a[r] * b[c];
    }
  }
  const std::array<double, 4> q = GreatestEigenvector(
      {{{m[0][0] + m[1][1] + m[2][2], m[1][2] - m[2][1], m[2][0] - m[0][2], m[0][1] - m[1][0]},
        {m[1][2] - m[2][1], m[0][0] - m[1][1] - m[2][2], m[0][1] + m[1][0], m[2][0] + m[0][2]},
        {m[2][0] - m[0][2], m[0][1] + m[1][0], m[1][1] - m[0][0] - m[2][2], m[1][2] + m[2][1]},
        {m[0][1] - m[1][0], m[2][0] + m[0][2], m[1][2] + m[2][1], m[2][2] - m[0][0] - m[1][1]}}});
  Similarity fit;
  fit.rotation = Normalized({q[0], q[1], q[2], q[3]});
  // The trace of rotation * m: sum of weight * dot(rotated from, to).
  const RotationMatrix rotate(fit.rotation);
  const Vector3 x = rotate({1, 0, 0}), y = rotate({0, 1, 0}), z = rotate({0, 0, 1});
  const double along = Dot(x, {m[0][0], m[0][1], m[0][2]}) + Dot(y, {m[1][0], m[1][1], m[1][2]}) +
                       Dot(z, {m[2][0], m[2][1], m[2][2]});
  if (!(spread > 0)) return {};
  fit.scale = along / spread;
  fit.translation = to_mean - fit.rotation(from_mean) * fit.scale;
  return fit;
}

// How much a vertex says about the head rather than the expression, by the surface it stands for.
std::array<double, kNumLandmarks> RigidWeights() {
  const HeadShape& shape = CanonicalShape();
  std::array<double, kNumLandmarks> weights{};
  for (const auto& triangle : kMeshTriangles) {
    const Vector3 &a = shape[static_cast<size_t>(triangle[0])],
                  &b = shape[static_cast<size_t>(triangle[1])],
                  &c = shape[static_cast<size_t>(triangle[2])];
    const Vector3 u = b - a, v = c - a;
    const double area =
        Length({u.y * v.z - u.z * v.y, u.z * v.x - u.x * v.z, u.x * v.y - u.y * v.x}) / 2;
    for (const int16_t vertex : triangle) weights[static_cast<size_t>(vertex)] += area / 3;
  }
  const MotionRegions& regions = MotionRegions::Get();
  for (size_t i = 0; i < weights.size(); ++i) {
    // Lids and lips most of all, then jaw and brows follow the expression.
    weights[i] *= (1 - 0.9 * regions.jaw[i]) *
                  (1 - 0.8 * std::max({regions.lids[0][i], regions.lids[1][i], regions.brows[i]}));
  }
  return weights;
}

}  // namespace

double Length(const Vector3& v) { return std::sqrt(Dot(v, v)); }

Vector3 Quaternion::operator()(const Vector3& v) const {
  // v + 2w (u x v) + 2 u x (u x v), u the imaginary part
  const Vector3 c{y * v.z - z * v.y, z * v.x - x * v.z, x * v.y - y * v.x};
  const Vector3 cc{y * c.z - z * c.y, z * c.x - x * c.z, x * c.y - y * c.x};
  return v + c * (2 * w) + cc * 2;
}

Quaternion operator*(const Quaternion& a, const Quaternion& b) {
  return {
      a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
      a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

double AngleOf(const Quaternion& rotation) {
  return 2 * std::atan2(Length({rotation.x, rotation.y, rotation.z}), std::abs(rotation.w));
}

Quaternion Scaled(const Quaternion& rotation, double factor) {
  const double sine = Length({rotation.x, rotation.y, rotation.z});
  if (!(sine > 0)) return {};
  const double half = factor * AngleOf(rotation) / 2;
  const double s = std::sin(half) / sine * (rotation.w < 0 ? -1 : 1);
  return {std::cos(half), rotation.x * s, rotation.y * s, rotation.z * s};
}

Quaternion Between(const Quaternion& a, const Quaternion& b, double weight) {
  return Normalized(a * Scaled(a.Inverse() * b, weight));
}

HeadAngles AnglesOf(const Quaternion& rotation) {
  const Vector3 x = rotation({1, 0, 0}), y = rotation({0, 1, 0}), z = rotation({0, 0, 1});
  return {std::asin(std::clamp(-x.z, -1.0, 1.0)) / kRadiansPerDegree,
          std::atan2(y.z, z.z) / kRadiansPerDegree, std::atan2(x.y, x.x) / kRadiansPerDegree};
}

Quaternion RotationOf(const HeadAngles& angles) {
  const double a = angles.yaw * kRadiansPerDegree / 2, b = angles.pitch * kRadiansPerDegree / 2,
               c = angles.roll * kRadiansPerDegree / 2;
  return Quaternion{std::cos(c), 0, 0, std::sin(c)} * Quaternion{std::cos(a), 0, std::sin(a), 0} *
         Quaternion{std::cos(b), std::sin(b), 0, 0};
}

const HeadShape& CanonicalShape() {
  static const HeadShape shape = [] {
    HeadShape canonical;
    for (size_t i = 0; i < canonical.size(); ++i) {
      const auto& v = kCanonicalVertices[i];
      canonical[i] = {v[0], v[1], v[2]};
    }
    return canonical;
  }();
  return shape;
}

std::optional<HeadPose> FitHeadPose(const Landmarks& landmarks, const HeadShape& model) {
  static const std::array<double, kNumLandmarks> kRigid = RigidWeights();
  HeadShape target;
  for (size_t i = 0; i < target.size(); ++i) {
    const Point3& p = landmarks[i];
    if (!std::isfinite(p.x) || !std::isfinite(p.y) || !std::isfinite(p.z)) return std::nullopt;
    target[i] = {p.x, -double{p.y}, -double{p.z}};
  }

  std::array<double, kNumLandmarks> weights = kRigid;
  HeadShape guided = target;
  Similarity fit;
  for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
    const Similarity last = fit;
    fit = FitSimilarity(model, guided, weights);
    if (!(fit.scale > 0) || !std::isfinite(fit.scale)) return std::nullopt;
    const Quaternion turn = last.rotation.Inverse() * fit.rotation;
    if (std::abs(fit.scale / last.scale - 1) < kConverged &&
        Length({turn.x, turn.y, turn.z}) < kConverged) {
      break;
    }
    const RotationMatrix rotate(fit.rotation);
    const double unit = 1 / (fit.scale * fit.scale * kHalfWeightDistance * kHalfWeightDistance);
    for (size_t i = 0; i < kNumWeighted; ++i) {
      const Vector3 expected = rotate(model[i]) * fit.scale + fit.translation;
      const Vector3 off = expected - target[i];
      weights[i] = kRigid[i] / (1 + Dot(off, off) * unit);
      guided[i].z = expected.z + kDepthTrust * (target[i].z - expected.z);
    }
  }

  const RotationMatrix rotate(fit.rotation);
  double rest = 0, total = 0, square = 0;
  Vector3 mean;
  for (size_t i = 0; i < kNumWeighted; ++i) {
    const Vector3 off = rotate(model[i]) * fit.scale + fit.translation - target[i];
    rest += kRigid[i] * Dot(off, off);
    total += kRigid[i];
    mean += target[i] * kRigid[i];
    square += kRigid[i] * Dot(target[i], target[i]);
  }
  mean = mean * (1 / total);
  const double variance = square / total - Dot(mean, mean);
  // Points closer together than floats can tell apart far from the origin are one point.
  if (!(variance > 1e-12 * square / total)) return std::nullopt;
  if (!(rest / total <= kMaxRest * kMaxRest * variance)) return std::nullopt;
  return HeadPose{
      fit.rotation, {fit.translation.x, -fit.translation.y, -fit.translation.z}, fit.scale};
}

HeadShape ToHead(const Landmarks& landmarks, const HeadPose& pose) {
  const RotationMatrix back(pose.rotation.Inverse());
  HeadShape shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    const Point3& p = landmarks[i];
    shape[i] =
        back({p.x - pose.translation.x, pose.translation.y - p.y, pose.translation.z - p.z}) *
        (1 / pose.scale);
  }
  return shape;
}

Landmarks ToPicture(const HeadShape& shape, const HeadPose& pose) {
  const RotationMatrix rotate(pose.rotation);
  Landmarks landmarks;
  for (size_t i = 0; i < shape.size(); ++i) {
    const Vector3 v = rotate(shape[i]) * pose.scale;
    landmarks[i] = {static_cast<float>(pose.translation.x + v.x),
                    static_cast<float>(pose.translation.y - v.y),
                    static_cast<float>(pose.translation.z - v.z)};
  }
  return landmarks;
}

}  // namespace reenact
