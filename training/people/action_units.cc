#include "training/people/action_units.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace reenact {
namespace {

// cm per unit of amplitude
using Field = std::array<Vec3, kNumLandmarks>;

constexpr float kMouthLine = -4.28f;     // height of the closed mouth
constexpr float kMouthHalfWidth = 2.3f;  // between the rings of the lips
constexpr Vec3 kLeftMouthCorner{-2.4f, -4.3f, 4.2f};

bool IsUpper(int vertex, const Vec3& p) {
  const MouthSide side = MouthSideOf(vertex);
  return side == MouthSide::kUpperLip || (side == MouthSide::kNone && p.y > kMouthLine);
}

// 1 in the middle of a lip, 0 at the corners.
float LipProfile(float x) {
  const float t = std::min(std::abs(x) / kMouthHalfWidth, 1.0f);
  return std::pow(1 - t * t, 0.45f);
}

// How much skin beyond a lip goes with it; 1 on the lip.
float LipFollow(int vertex, const Vec3& p) {
  if (MouthSideOf(vertex) != MouthSide::kNone) return 1;
  const float above = (p.y + 3.3f) / 0.75f, below = (p.y + 5.2f) / 0.9f;
  if (IsUpper(vertex, p)) return above < 0 ? 1 : Bump(above * above);
  return below > 0 ? 1 : Bump(below * below);
}

Vec3 Mirrored(const Vec3& v) { return {-v.x, v.y, v.z}; }

// Builds a field from a function of vertex and resting position.
template <typename Function>
Field Fill(Function displacement) {
  Field field{};
  for (int i = 0; i < kNumSurfaceVertices; ++i) {
    field[static_cast<size_t>(i)] = displacement(i, RestingFace()[static_cast<size_t>(i)]);
  }
  return field;
}

// `push` around `center` on the picture's left, mirrored on its right.
Vec3 PushBothSides(const Vec3& p, const Vec3& center, const Vec3& widths, const Vec3& push) {
  return push * Bump(p, center, widths) + Mirrored(push) * Bump(p, Mirrored(center), widths);
}

Field JawDrop() {
  return Fill([](int vertex, const Vec3& p) -> Vec3 {
    const float x = std::abs(p.x);
    const bool upper = IsUpper(vertex, p);
    // The jaw bone: the chin goes down and back, the ears stay.
    const float sideways = 1 - Smoothstep(3.5f, 7.4f, x);
    float down = 1.45f * Smoothstep(-2.5f, -7.5f, p.y) * sideways;
    float back = 1.35f * Smoothstep(-2.5f, -8.5f, p.y) * sideways;
    if (upper) {  // between nose and mouth nothing follows but the corners
      const float to_corner = std::min(x / 2.4f, 1.0f);
      down *= to_corner * to_corner;
      back *= to_corner * to_corner;
    }
    // The lower lip goes twice as far as the chin, the upper one rises a little.
    const float lip = LipProfile(x) * LipFollow(vertex, p);
    Vec3 move{0, -down, -back};
    if (upper) {
      move += Vec3{0, 0.2f, 0} * lip;
    } else if (MouthSideOf(vertex) != MouthSide::kNone) {
      move = {0, -0.45f - 2.3f * lip, -0.3f - 0.5f * lip};
    } else if (p.y > -10) {
      const float below = std::min(p.y + 5.1f, 0.0f) / 1.35f;
      const float follow = Bump(below * below) * Bump(x * x / (1.5f * 1.5f));
      move += Vec3{0, -1.3f, -0.15f} * follow;
    }
    move += PushBothSides(p, kLeftMouthCorner, {1.0f, 1.0f, 2.5f}, {0.22f, 0, -0.3f});
    return move;
  });
}

Field Smile() {
  return Fill([](int, const Vec3& p) -> Vec3 {
    Vec3 move = PushBothSides(p, kLeftMouthCorner, {1.35f, 1.25f, 3}, {-0.72f, 0.72f, -0.55f});
    move += PushBothSides(p, {-4.3f, -1.0f, 4}, {1.3f, 1.2f, 3}, {-0.08f, 0.42f, 0.25f});
    move += PushBothSides(p, {-3.2f, 1.9f, 3.8f}, {1.1f, 0.35f, 2}, {0, 0.08f, 0});
    return move;
  });
}

Field Frown() {
  return Fill([](int, const Vec3& p) {
    return PushBothSides(p, kLeftMouthCorner, {1.1f, 1.1f, 3}, {0.05f, -0.55f, -0.1f});
  });
}

Field Pucker() {
  return Fill([](int, const Vec3& p) -> Vec3 {
    const float around = Bump(p, {0, kMouthLine, 5}, {1.9f, 1.3f, 3});
    const float middle = Bump(p, {0, kMouthLine, 5.2f}, {1.3f, 1.0f, 3});
    const float all = Bump(p, {0, kMouthLine, 5}, {3.2f, 1.6f, 4});
    return {-0.42f * p.x * all, 0.06f * (p.y - kMouthLine) * around, 0.5f * middle};
  });
}

Field MouthShift() {
  return Fill([](int, const Vec3& p) -> Vec3 {
    return {0.65f * Bump(p, {0, kMouthLine, 5}, {2.2f, 1.4f, 4}) +
                0.3f * Bump(p, {0, -8, 4.5f}, {2.5f, 1.8f, 4}),
            0, 0};
  });
}

Field UpperLipRaise() {
  return Fill([](int vertex, const Vec3& p) -> Vec3 {
    Vec3 move = PushBothSides(p, {-1.5f, -1.3f, 5.6f}, {0.6f, 0.6f, 2}, {0, 0.12f, 0});
    if (MouthSideOf(vertex) != MouthSide::kCorner && IsUpper(vertex, p)) {
      move += Vec3{0, 0.55f, 0.05f} * (LipProfile(p.x) * LipFollow(vertex, p));
    }
    return move;
  });
}

Field LowerLipDrop() {
  return Fill([](int vertex, const Vec3& p) -> Vec3 {
    if (MouthSideOf(vertex) == MouthSide::kCorner || IsUpper(vertex, p) || p.y < -9) return {};
    return Vec3{0, -0.55f, 0} * (LipProfile(p.x) * LipFollow(vertex, p));
  });
}

// Height of the open eye at `x`, 0 beyond its corners.
float EyeOpening(std::span<const Facing> lids, int outer_corner, int inner_corner, float x) {
  const FaceVertices& face = RestingFace();
  float last_x = face[static_cast<size_t>(outer_corner)].x, last_gap = 0;
  for (size_t i = 0; i <= lids.size(); ++i) {
    const bool end = i == lids.size();
    const Vec3& upper = face[static_cast<size_t>(end ? inner_corner : lids[i].upper)];
    const float gap = end ? 0 : upper.y - face[static_cast<size_t>(lids[i].lower)].y;
    if ((x - last_x) * (x - upper.x) <= 0 && upper.x != last_x) {
      return last_gap + (gap - last_gap) * (x - last_x) / (upper.x - last_x);
    }
    last_x = upper.x;
    last_gap = gap;
  }
  return 0;
}

struct LidField {
  Field upper{}, lower{};  // +1: the lid moves up by the height of the open eye at that place
};

LidField Lids(std::span<const Facing> lids, int outer_corner, int inner_corner) {
  const FaceVertices& face = RestingFace();
  const float middle_y =
      (face[static_cast<size_t>(lids[3].upper)].y + face[static_cast<size_t>(lids[3].lower)].y) / 2;
  LidField field;
  for (size_t i = 0; i < kNumSurfaceVertices; ++i) {
    const Vec3& p = face[i];
    const float opening = EyeOpening(lids, outer_corner, inner_corner, p.x);
    if (opening <= 0) continue;
    const auto is_in = [&](auto member) {
      return std::any_of(lids.begin(), lids.end(), [&](const Facing& pair) {
        return static_cast<size_t>(member(pair)) == i;
      });
    };
    const bool upper_edge = is_in([](const Facing& pair) { return pair.upper; });
    const bool lower_edge = is_in([](const Facing& pair) { return pair.lower; });
    const float beyond = std::abs(p.y - middle_y) - opening / 2;
    const float follow =
        upper_edge || lower_edge ? 1 : Bump(std::pow(std::max(beyond, 0.0f) / 0.42f, 2.0f));
    if (upper_edge || (!lower_edge && p.y > middle_y))
      field.upper[i] = {0, opening * follow, 0.08f * opening * follow};
    if (lower_edge || (!upper_edge && p.y < middle_y)) field.lower[i] = {0, opening * follow, 0};
  }
  return field;
}

Field BrowInner() {
  return Fill([](int, const Vec3& p) {
    return PushBothSides(p, {-1.5f, 4.8f, 5.2f}, {1.2f, 0.95f, 2.5f}, {-0.08f, 0.68f, 0}) *
           Smoothstep(3.3f, 4.2f, p.y);
  });
}

Field BrowOuter() {
  return Fill([](int, const Vec3& p) {
    return PushBothSides(p, {-4.4f, 4.8f, 4}, {1.5f, 0.95f, 2.5f}, {0, 0.62f, 0}) *
           Smoothstep(3.2f, 4.0f, p.y);
  });
}

Field CheekRaise() {
  return Fill([](int, const Vec3& p) {
    return PushBothSides(p, {-3.8f, 0.6f, 3.6f}, {1.4f, 0.9f, 2.5f}, {0, 0.3f, 0.12f}) *
           Smoothstep(2.2f, 1.4f, p.y);
  });
}

struct ActionUnits {
  Field jaw_drop = JawDrop(), smile = Smile(), frown = Frown(), pucker = Pucker(),
        mouth_shift = MouthShift(), upper_lip_raise = UpperLipRaise(),
        lower_lip_drop = LowerLipDrop(), brow_inner = BrowInner(), brow_outer = BrowOuter(),
        cheek_raise = CheekRaise();
  LidField left_lids = Lids(kLeftLids, 33, 133), right_lids = Lids(kRightLids, 263, 362);
};

void Add(FaceVertices& face, const Field& field, float amplitude) {
  if (amplitude == 0) return;
  for (size_t i = 0; i < kNumSurfaceVertices; ++i) face[i] += field[i] * amplitude;
}

void MoveLids(FaceVertices& face, const LidField& lids, float close, const Expression& expression) {
  // The upper lid does 85 % of the way and follows the gaze. A little too far, so that KeepClosed
  // has the last word.
  const float open = 1 - close;
  Add(face, lids.upper,
      -0.88f * close + open * (0.24f * expression.eyes_wide + 0.3f * expression.gaze_y));
  Add(face, lids.lower,
      0.15f * close + open * (0.12f * expression.cheek_raise + 0.06f * expression.gaze_y));
}

// Where upper and lower edge touch or cross, lets them meet half way.
void KeepClosed(FaceVertices& face, std::span<const Facing> pairs) {
  constexpr float kTouching = 0.015f, kHalfGap = 0.008f;
  for (const Facing& pair : pairs) {
    Vec3 &upper = face[static_cast<size_t>(pair.upper)],
         &lower = face[static_cast<size_t>(pair.lower)];
    if (upper.y >= lower.y + kTouching) continue;
    const float middle = (upper.y + lower.y) / 2;
    upper.y = middle + kHalfGap;
    lower.y = middle - kHalfGap;
  }
}

}  // namespace

FaceVertices ExpressiveFace(const Expression& e) {
  static const ActionUnits units;
  FaceVertices face = RestingFace();
  Add(face, units.jaw_drop, e.jaw_drop);
  Add(face, units.smile, std::max(e.smile, 0.0f));
  Add(face, units.frown, std::max(-e.smile, 0.0f));
  Add(face, units.pucker, e.pucker);
  Add(face, units.mouth_shift, e.mouth_shift);
  Add(face, units.upper_lip_raise, e.upper_lip_raise);
  Add(face, units.lower_lip_drop, e.lower_lip_drop);
  Add(face, units.brow_inner, e.brow_inner);
  Add(face, units.brow_outer, e.brow_outer);
  Add(face, units.cheek_raise, e.cheek_raise);
  MoveLids(face, units.left_lids, e.eye_close_left, e);
  MoveLids(face, units.right_lids, e.eye_close_right, e);
  for (size_t i = kNumSurfaceVertices; i < face.size(); ++i) {
    face[i] += Vec3{0.45f * e.gaze_x, 0.34f * e.gaze_y, 0};
  }
  KeepClosed(face, kLeftLids);
  KeepClosed(face, kRightLids);
  KeepClosed(face, kLips);
  return face;
}

}  // namespace reenact
