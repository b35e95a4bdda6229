// Small vectors and the two curves everything here is shaped with.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "training/people/people.h"

namespace reenact {

struct Vec3 {
  float x = 0, y = 0, z = 0;

  Vec3& operator+=(const Vec3& o) { return x += o.x, y += o.y, z += o.z, *this; }
};

inline Vec3 operator+(const Vec3& a, const Vec3& b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator-(const Vec3& a, const Vec3& b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator*(const Vec3& a, float s) { return {a.x * s, a.y * s, a.z * s}; }
inline Vec3 Mix(const Vec3& a, const Vec3& b, float share_of_b) {
  return a * (1 - share_of_b) + b * share_of_b;
}
inline float Dot(const Vec3& a, const Vec3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 Cross(const Vec3& a, const Vec3& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline Vec3 Normalized(const Vec3& v) { return v * (1 / (std::sqrt(Dot(v, v)) + 1e-9f)); }

inline Rgb operator*(const Rgb& c, float s) { return {c.r * s, c.g * s, c.b * s}; }
inline Rgb operator*(const Rgb& a, const Rgb& b) { return {a.r * b.r, a.g * b.g, a.b * b.b}; }
inline Rgb operator+(const Rgb& a, const Rgb& b) { return {a.r + b.r, a.g + b.g, a.b + b.b}; }
inline Rgb Mix(const Rgb& a, const Rgb& b, float share_of_b) {
  return a * (1 - share_of_b) + b * share_of_b;
}

inline constexpr float kPi = 3.14159265f;

// 0 at `from` and before, 1 at `to` and after, smooth between; `from` may be the greater.
inline float Smoothstep(float from, float to, float x) {
  const float t = std::clamp((x - from) / (to - from), 0.0f, 1.0f);
  return t * t * (3 - 2 * t);
}

// exp(-r_squared / 2) to about 0.02, but 0 from r = 4 on, cheap, and the same on every machine.
inline float Bump(float r_squared) {
  float f = 1 - r_squared * (1.0f / 16);
  if (f <= 0) return 0;
  f *= f;
  f *= f;
  return f * f;
}
inline float Bump(const Vec3& p, const Vec3& center, const Vec3& widths) {
  const float x = (p.x - center.x) / widths.x, y = (p.y - center.y) / widths.y,
              z = (p.z - center.z) / widths.z;
  return Bump(x * x + y * y + z * z);
}

// Rows are the images' coordinates.
struct Rotation {
  std::array<Vec3, 3> rows;

  Vec3 operator()(const Vec3& v) const {
    return {Dot(rows[0], v), Dot(rows[1], v), Dot(rows[2], v)};
  }
};

// First pitch (about x), then yaw (about y), then roll (about z).
inline Rotation RotationFor(const Pose& pose) {
  const float a = pose.yaw * kPi / 180, b = pose.pitch * kPi / 180, c = pose.roll * kPi / 180;
  const float ca = std::cos(a), sa = std::sin(a), cb = std::cos(b), sb = std::sin(b),
              cc = std::cos(c), sc = std::sin(c);
  return {{{{cc * ca, cc * sa * sb - sc * cb, cc * sa * cb + sc * sb},
            {sc * ca, sc * sa * sb + cc * cb, sc * sa * cb - cc * sb},
            {-sa, ca * sb, ca * cb}}}};
}

// `count` points spread evenly over the parameter of a smooth curve through `points` (two or more).
std::vector<Vec3> Resample(const std::vector<Vec3>& points, int count);

}  // namespace reenact
