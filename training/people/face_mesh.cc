#include "training/people/face_mesh.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace reenact {
namespace {

// The four rows of the lips between corner and corner.
constexpr int kUpperLipRows[] = {185, 40,  39,  37,  0,   267, 269, 270, 409, 191, 80,  81,
                                 82,  13,  312, 311, 310, 415, 184, 74,  73,  72,  11,  302,
                                 303, 304, 408, 183, 42,  41,  38,  12,  268, 271, 272, 407};
constexpr int kLowerLipRows[] = {146, 91,  181, 84,  17,  314, 405, 321, 375, 95,  88,  178,
                                 87,  14,  317, 402, 318, 324, 77,  90,  180, 85,  16,  315,
                                 404, 320, 307, 96,  89,  179, 86,  15,  316, 403, 319, 325};
constexpr int kCorners[] = {61, 291, 78, 308, 76, 306, 62, 292};

constexpr float kRestingLipGap = 0.05f;  // cm, measured on people at rest
constexpr float kMouthLine = -4.28f;     // cm, height of the canonical mouth's corners

std::array<MouthSide, kNumLandmarks> MakeMouthSides() {
  std::array<MouthSide, kNumLandmarks> sides{};
  for (int vertex : kUpperLipRows) sides[static_cast<size_t>(vertex)] = MouthSide::kUpperLip;
  for (int vertex : kLowerLipRows) sides[static_cast<size_t>(vertex)] = MouthSide::kLowerLip;
  for (int vertex : kCorners) sides[static_cast<size_t>(vertex)] = MouthSide::kCorner;
  return sides;
}

// Moves the lips, and less and less the skin around them, until the inner rows nearly meet.
void CloseMouth(FaceVertices& face) {
  // Half of the way between the lips over |x|; the canonical mesh is symmetric.
  std::array<std::pair<float, float>, 6> half_way{};
  for (size_t i = 0; i < 5; ++i) {
    const Vec3 &upper = face[static_cast<size_t>(kLips[i].upper)],
               &lower = face[static_cast<size_t>(kLips[i].lower)];
    const float gap = upper.y - lower.y;
    // The small remaining gap narrows to nothing at the corners.
    const float x = std::abs(upper.x) / 2.15f;
    half_way[i + 1] = {std::abs(upper.x), (gap - kRestingLipGap * (1 - x * x)) / 2};
  }
  half_way[0] = {2.2f, 0.0f};  // the corner
  const auto half_way_at = [&](float x) {
    x = std::abs(x);
    if (x >= half_way[0].first) return 0.0f;
    for (size_t i = 1; i < half_way.size(); ++i) {
      if (x >= half_way[i].first) {
        const auto [x0, y0] = half_way[i];
        const auto [x1, y1] = half_way[i - 1];
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
      }
    }
    return half_way.back().second;
  };

  for (int i = 0; i < kNumSurfaceVertices; ++i) {
    Vec3& p = face[static_cast<size_t>(i)];
    const MouthSide side = MouthSideOf(i);
    if (side == MouthSide::kCorner || p.z < 2) continue;
    const bool upper =
        side == MouthSide::kUpperLip || (side == MouthSide::kNone && p.y > kMouthLine);
    const float fade = side == MouthSide::kNone
                           ? Bump(std::pow((std::abs(p.y - kMouthLine) - 0.8f) / 0.8f, 2.0f))
                           : 1.0f;
    if (side == MouthSide::kNone && std::abs(p.y - kMouthLine) > 3) continue;
    p.y += (upper ? -1.0f : 1.0f) * half_way_at(p.x) * fade;
  }
}

// The canonical eyes are half closed (0.67 cm); people at rest look at 0.8.
void OpenEyes(FaceVertices& face) {
  for (const auto& lids : {kLeftLids, kRightLids}) {
    for (const Facing& pair : lids) {
      Vec3 &upper = face[static_cast<size_t>(pair.upper)],
           &lower = face[static_cast<size_t>(pair.lower)];
      const float gap = upper.y - lower.y;
      upper.y += 0.16f * gap;
      lower.y -= 0.04f * gap;
    }
  }
}

FaceVertices MakeRestingFace() {
  FaceVertices face;
  for (size_t i = 0; i < face.size(); ++i) {
    face[i] = {kCanonicalVertices[i][0], kCanonicalVertices[i][1], kCanonicalVertices[i][2]};
  }
  CloseMouth(face);
  OpenEyes(face);
  return face;
}

std::array<Material, kNumMeshTriangles> MakeTriangleMaterials() {
  constexpr uint8_t kInLeftEye = 1, kInRightEye = 2, kInMouth = 4, kInLips = 8;
  std::array<uint8_t, kNumLandmarks> sets{};
  for (int vertex : kLeftEyeRing) sets[static_cast<size_t>(vertex)] |= kInLeftEye;
  for (int vertex : kRightEyeRing) sets[static_cast<size_t>(vertex)] |= kInRightEye;
  for (int vertex : kInnerLips) sets[static_cast<size_t>(vertex)] |= kInMouth;
  for (int vertex = 0; vertex < kNumSurfaceVertices; ++vertex) {
    if (MouthSideOf(vertex) != MouthSide::kNone) sets[static_cast<size_t>(vertex)] |= kInLips;
  }

  std::array<Material, kNumMeshTriangles> materials{};
  for (size_t i = 0; i < materials.size(); ++i) {
    const auto& [a, b, c] = kMeshTriangles[i];
    const int common =
        sets[static_cast<size_t>(a)] & sets[static_cast<size_t>(b)] & sets[static_cast<size_t>(c)];
    materials[i] = common & kInLeftEye    ? Material::kLeftEye
                   : common & kInRightEye ? Material::kRightEye
                   : common & kInMouth    ? Material::kMouth
                   : common & kInLips     ? Material::kLip
                                          : Material::kSkin;
  }
  return materials;
}

}  // namespace

MouthSide MouthSideOf(int vertex) {
  static const std::array<MouthSide, kNumLandmarks> sides = MakeMouthSides();
  return sides[static_cast<size_t>(vertex)];
}

const FaceVertices& RestingFace() {
  static const FaceVertices face = MakeRestingFace();
  return face;
}

const std::array<Material, kNumMeshTriangles>& TriangleMaterials() {
  static const std::array<Material, kNumMeshTriangles> materials = MakeTriangleMaterials();
  return materials;
}

}  // namespace reenact
