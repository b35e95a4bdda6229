// Turned rectangles on a picture: where a network looks, and how its pixels are taken.
//
// Pure functions.
#pragma once

#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// In units of the picture's width and height; `rotation` clockwise in radians, in [-pi, pi).
struct Roi {
  float center_x = 0.5f, center_y = 0.5f;
  float width = 1, height = 1;
  float rotation = 0;
};

// An upright box, in units of the picture.
struct Box {
  float left = 0, top = 0, right = 0, bottom = 0;
};

float IntersectionOverUnion(const Box& a, const Box& b);

// The angle in [-pi, pi).
float WrapAngle(float radians);

// The box, turned so that the line `from` -> `to` lies horizontally, made 1.5 times as large. With
// `square` its longer side (in pixels) counts for both.
Roi RoiAround(const Box& box, const Point3& from, const Point3& to, bool square, int width,
              int height);

// The smallest box that holds all landmarks.
Box BoxOf(const Landmarks& landmarks);

// RoiAround() the box of all landmarks, turned by the outer corners of the eyes, square.
Roi RoiFromLandmarks(const Landmarks& landmarks, int width, int height);

// The smallest upright square centred on the picture that contains it.
Roi LetterboxRoi(int width, int height);

// What a sample outside the picture is.
enum class Border { kRepeat, kZero };

// Samples the region on a grid of `side` x `side` and writes value * scale + offset as [side, side,
// 3]. Sample (u, v) lies at the offset (u / side - 1/2, v / side - 1/2) of the region's size from
// its centre: there is no shift to pixel centres, weights are multiples of 1/32 of a pixel and the
// result is rounded to 8 bits, all as MediaPipe does with OpenCV.
void SampleRoi(const Image& image, const Roi& roi, int side, Border border, float scale,
               float offset, absl::Span<float> out);

// What one unit of z in a region is in the picture.
enum class Depth {
  kByWidth,  // the region's width in units of the picture's (MediaPipe's legacy pipeline)
  kByRow,    // the length of the region's turned upper side in units of the picture's width along x
             // and of its height along y (MediaPipe Tasks)
};

// Landmarks in units of the region to units of the picture of `width` x `height` pixels.
void ProjectFromRoi(const Roi& roi, Depth depth, int width, int height, Landmarks& landmarks);

}  // namespace reenact
