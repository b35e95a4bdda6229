// The average face at rest on MediaPipe's topology, and which of its points and triangles are what.
#pragma once

#include <array>
#include <utility>

#include "pipeline/face/canonical_mesh.h"
#include "pipeline/face/landmarks.h"
#include "training/people/vec3.h"

namespace reenact {

// Vertices below this one span the surface; the others mark the irises.
inline constexpr int kNumSurfaceVertices = 468;

using FaceVertices = std::array<Vec3, kNumLandmarks>;

enum class Material : uint8_t {
  kNothing,
  kSkin,
  kLip,
  kLeftEye,
  kRightEye,
  kMouth,
  kScalp,
  kBrow,
  kLidLine,
  kHair,
  kNeck,
  kClothes,
  kEar,
  kHat,
  kGlasses,
};

// The canonical mesh with its mouth closed and its eyes open as measured on people at rest.
const FaceVertices& RestingFace();

// What each triangle of kMeshTriangles shows.
const std::array<Material, kNumMeshTriangles>& TriangleMaterials();

// Closed curves, in order.
inline constexpr std::array<int, 36> kFaceOval = {
    10,  338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58,  132, 93,  234, 127, 162, 21,  54,  103, 67,  109};
inline constexpr std::array<int, 20> kOuterLips = {61,  146, 91,  181, 84,  17, 314, 405, 321, 375,
                                                   291, 409, 270, 269, 267, 0,  37,  39,  40,  185};
inline constexpr std::array<int, 20> kInnerLips = {78,  95,  88,  178, 87,  14, 317, 402, 318, 324,
                                                   308, 415, 310, 311, 312, 13, 82,  81,  80,  191};
inline constexpr std::array<int, 16> kLeftEyeRing = {33,  7,   163, 144, 145, 153, 154, 155,
                                                     133, 173, 157, 158, 159, 160, 161, 246};
inline constexpr std::array<int, 16> kRightEyeRing = {263, 249, 390, 373, 374, 380, 381, 382,
                                                      362, 398, 384, 385, 386, 387, 388, 466};

// An upper point and the lower one it meets when eye or mouth closes.
struct Facing {
  int upper, lower;
};
inline constexpr std::array<Facing, 7> kLeftLids = {
    {{246, 7}, {161, 163}, {160, 144}, {159, 145}, {158, 153}, {157, 154}, {173, 155}}};
inline constexpr std::array<Facing, 7> kRightLids = {
    {{466, 249}, {388, 390}, {387, 373}, {386, 374}, {385, 380}, {384, 381}, {398, 382}}};
inline constexpr std::array<Facing, 9> kLips = {{{191, 95},
                                                 {80, 88},
                                                 {81, 178},
                                                 {82, 87},
                                                 {13, 14},
                                                 {312, 317},
                                                 {311, 402},
                                                 {310, 318},
                                                 {415, 324}}};

enum class MouthSide { kNone, kUpperLip, kLowerLip, kCorner };
MouthSide MouthSideOf(int vertex);

}  // namespace reenact
