// The topology every face in this project shares: MediaPipe's 478 landmarks and the 898 triangles
// between the first 468.
#pragma once

#include <array>
#include <cstdint>

#include "pipeline/face/landmarks.h"

namespace reenact {

inline constexpr int kNumMeshTriangles = 898;

// Undeformed positions in cm: x = picture right, y up, z towards the camera. 468..472 and 473..477
// are the irises.
extern const std::array<std::array<float, 3>, kNumLandmarks> kCanonicalVertices;

// Vertex indices below 468. The mesh has no holes: triangles close the eyes and the mouth.
extern const std::array<std::array<int16_t, 3>, kNumMeshTriangles> kMeshTriangles;

}  // namespace reenact
