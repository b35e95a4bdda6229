// Landmarks as the networks read them: a flat vector, and a picture of the mesh regrouped to
// tokens.
//
// Pure functions, no state.
#pragma once

#include <array>
#include <vector>

#include "pipeline/face/landmarks.h"

namespace reenact {

// Grid cells per token side, numbers per cell, numbers per token of LandmarkMap().
inline constexpr int kLandmarkMapPatch = 8;
inline constexpr int kLandmarkMapCellValues = 3;
inline constexpr int kLandmarkMapWidth =
    kLandmarkMapPatch * kLandmarkMapPatch * kLandmarkMapCellValues;

// Draws the 898 triangles of the mesh, seen in the unit square, on a grid of (8 * tokens_side)^2
// cells; a cell holds (1, canonical x / 8, canonical y / 9) of the nearest triangle over its centre
// (smallest z), or zeros. Returns [tokens_side^2, 192] row-major: token = row * tokens_side +
// column; within a token the order is (row in patch, column in patch, channel). Parts of the mesh
// outside the unit square are cut off; triangles with a non-finite corner are left out.
// `tokens_side` must be positive.
std::vector<float> LandmarkMap(const Landmarks& landmarks, int tokens_side);

// What the triangles hardly tell, as an eye is a few cells high: per cell the shares of it that lie
// in the opening of an eye, in an iris seen through it, and between the lips, 0..1 in sixteenths.
// Where lids or lips have crossed, and of an eye turned away, nothing is open. Same shape, grid and
// order as LandmarkMap(); points that are not finite leave their opening out.
std::vector<float> OpeningMap(const Landmarks& landmarks, int tokens_side);

// (2x - 1, 2y - 1, 2z) of every point, index-major.
std::array<float, 3 * kNumLandmarks> NormalizeLandmarks(const Landmarks& landmarks);

}  // namespace reenact
