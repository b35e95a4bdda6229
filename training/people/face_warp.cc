#include "training/people/face_warp.h"

#include <cmath>

namespace reenact {
namespace {

constexpr float kLowerForehead = 0.8f, kShorterChin = 0.5f;  // cm

// `side` -1 or 1.
Vec3 EyeMove(const FaceShape& shape, const Vec3& p, float side) {
  const Vec3 center{side * 3.15f, 2.65f, 3.7f};
  const float weight = Bump(p, center, {1.9f, 1.25f, 3});
  if (weight == 0) return {};
  const float grow = 0.2f * shape.eye_size, slant = 0.1f * shape.eye_slant * side;
  const Vec3 from = p - center;
  const float x = from.x * (1 + 0.8f * grow), y = from.y * (1 + grow);
  const float c = std::cos(slant), s = std::sin(slant);
  const Vec3 to{x * c - y * s, x * s + y * c, from.z};
  return (to - from + Vec3{side * 0.22f * shape.eye_spacing, 0, 0}) * weight;
}

}  // namespace

Vec3 Warp(const FaceShape& shape, const Vec3& p) {
  Vec3 move = EyeMove(shape, p, -1) + EyeMove(shape, p, 1);
  move.y +=
      0.28f * shape.brow_height *
      (Bump(p, {-3.6f, 4.9f, 4}, {2.4f, 0.9f, 3}) + Bump(p, {3.6f, 4.9f, 4}, {2.4f, 0.9f, 3}));

  move.x += 0.2f * shape.nose_width * p.x * Bump(p, {0, -1.6f, 6.5f}, {1.7f, 1.7f, 2.5f});
  move.y -= 0.38f * shape.nose_length * Bump(p, {0, -1.2f, 7}, {1.6f, 1.7f, 2});
  move.z += 0.55f * shape.nose_protrusion * Bump(p, {0, -0.9f, 7.4f}, {1.1f, 1.5f, 2}) +
            0.35f * shape.nose_bridge * Bump(p, {0, 1.6f, 6}, {0.8f, 1.2f, 2});

  const float mouth = Bump(p, {0, -4.3f, 5}, {2.6f, 1.5f, 3});
  move.x += 0.16f * shape.mouth_width * p.x * mouth;
  move.y -= 0.3f * shape.mouth_height * mouth;
  move.y +=
      0.16f * shape.lip_thickness *
      (Bump(p, {0, -3.6f, 5.6f}, {1.9f, 0.42f, 2}) - Bump(p, {0, -5.2f, 5.5f}, {1.7f, 0.5f, 2}));

  for (const float side : {-1.0f, 1.0f}) {
    const float cheek =
        0.35f * shape.cheeks * Bump(p, {side * 4.6f, -0.8f, 3.4f}, {1.8f, 1.9f, 2.5f});
    move += Vec3{side * cheek, 0, cheek};
  }

  Vec3 q = p + move;
  const float y = q.y;
  q.x *= 1 + 0.085f * shape.face_width +
         0.11f * shape.jaw_width * Smoothstep(-2, -7, y) * (1 - 0.5f * Smoothstep(-8, -10, y)) +
         0.12f * shape.chin_width * Smoothstep(-7, -9, y);
  // The canonical face is long: landmark networks place the forehead's top lower and the chin
  // higher.
  q.y += (kShorterChin - 0.75f * shape.chin_length) * Smoothstep(-4.8f, -9, y);
  q.y += (0.5f * shape.forehead_height - kLowerForehead) * Smoothstep(4.5f, 8.5f, y);
  q.z *= 1 + 0.05f * shape.head_depth;
  return q;
}

}  // namespace reenact
