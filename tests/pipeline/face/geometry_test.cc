// Anchors, decoding and merging of detections; regions and sampling; the landmark map; the crop.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>
#include <vector>

#include "pipeline/face/canonical_mesh.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/detection.h"
#include "pipeline/face/landmark_map.h"
#include "pipeline/face/motion_regions.h"
#include "pipeline/face/roi.h"

namespace reenact {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

constexpr float kPi = std::numbers::pi_v<float>;

TEST(DetectionTest, AnchorsLieAtCellCentres) {
  const std::vector<Point3> anchors = DetectorAnchors();

  ASSERT_EQ(anchors.size(), static_cast<size_t>(kNumAnchors));
  for (const auto& [index, x, y] :
       {std::tuple(0, 0.03125f, 0.03125f), std::tuple(1, 0.03125f, 0.03125f),
        std::tuple(2, 0.09375f, 0.03125f), std::tuple(32, 0.03125f, 0.09375f),
        std::tuple(512, 0.0625f, 0.0625f), std::tuple(895, 0.9375f, 0.9375f)}) {
    EXPECT_FLOAT_EQ(anchors[index].x, x) << index;
    EXPECT_FLOAT_EQ(anchors[index].y, y) << index;
  }
}

TEST(DetectionTest, DecodesBoxAroundItsAnchor) {
  std::vector<float> boxes(kNumAnchors * kNumCoordinates, 0);
  std::vector<float> logits(kNumAnchors, -50);
  // Anchor 512 is at (1/16, 1/16) = (8, 8) pixels of 128.
  logits[512] = 0.1f;
  float* box = &boxes[512 * kNumCoordinates];
  box[0] = 8, box[1] = 24, box[2] = 32, box[3] = 16, box[4] = -8, box[5] = 56;
  logits[3] = 5, boxes[3 * kNumCoordinates + 2] = -1;  // negative width
  logits[4] = 5, boxes[4 * kNumCoordinates] = std::numeric_limits<float>::quiet_NaN();
  logits[5] = std::numeric_limits<float>::quiet_NaN();

  const std::vector<Detection> detections =
      DecodeDetections(boxes, logits, DetectorAnchors(), 0.5f);

  ASSERT_EQ(detections.size(), 1u);
  const Detection& d = detections[0];
  EXPECT_FLOAT_EQ(d.box.left, 0);
  EXPECT_FLOAT_EQ(d.box.right, 0.25f);
  EXPECT_FLOAT_EQ(d.box.top, 24.0f / 128);
  EXPECT_FLOAT_EQ(d.box.bottom, 40.0f / 128);
  EXPECT_FLOAT_EQ(d.keypoints[0].x, 0);
  EXPECT_FLOAT_EQ(d.keypoints[0].y, 0.5f);
  EXPECT_NEAR(d.score, 0.52498f, 1e-5);
}

Detection At(float left, float top, float side, float score) {
  Detection d;
  d.box = {left, top, left + side, top + side};
  d.keypoints.fill({left, top, 0});
  d.score = score;
  return d;
}

TEST(DetectionTest, OverlappingDetectionsBecomeTheirWeightedMean) {
  const std::vector<Detection> merged = MergeOverlapping(
      {At(0.12f, 0.1f, 0.2f, 0.6f), At(0.7f, 0.7f, 0.2f, 0.8f), At(0.1f, 0.1f, 0.2f, 0.9f)}, 0.3f);

  ASSERT_EQ(merged.size(), 2u);
  // (0.9 * 0.1 + 0.6 * 0.12) / 1.5; the score is the best one's.
  EXPECT_NEAR(merged[0].box.left, 0.108f, 1e-6);
  EXPECT_NEAR(merged[0].box.right, 0.308f, 1e-6);
  EXPECT_NEAR(merged[0].keypoints[5].x, 0.108f, 1e-6);
  EXPECT_FLOAT_EQ(merged[0].score, 0.9f);
  EXPECT_FLOAT_EQ(merged[1].box.left, 0.7f);
  EXPECT_FLOAT_EQ(merged[1].score, 0.8f);
}

TEST(DetectionTest, OverlapAtTheThresholdStaysApart) {
  // Side by side halves: common 1/2 of each, intersection over union 1/3.
  const std::vector<Detection> detections = {At(0, 0, 1, 0.9f), At(0.5f, 0, 1, 0.8f)};

  EXPECT_EQ(MergeOverlapping(detections, 1.0f / 3 + 1e-6f).size(), 2u);
  EXPECT_EQ(MergeOverlapping(detections, 1.0f / 3 - 1e-6f).size(), 1u);
}

TEST(DetectionTest, BoxesWithoutAreaEndTheSearch) {
  EXPECT_EQ(MergeOverlapping({At(0, 0, 0, 0.9f), At(0.5f, 0, 0, 0.8f)}, 0.3f).size(), 1u);
}

TEST(RoiTest, AngleWrapsIntoHalfOpenInterval) {
  EXPECT_NEAR(WrapAngle(0.5f), 0.5f, 1e-6);
  EXPECT_NEAR(WrapAngle(kPi + 0.25f), -kPi + 0.25f, 1e-5);
  EXPECT_NEAR(WrapAngle(-kPi - 0.25f), kPi - 0.25f, 1e-5);
  EXPECT_NEAR(WrapAngle(5 * kPi + 0.25f), -kPi + 0.25f, 1e-5);
  EXPECT_LT(WrapAngle(std::nextafter(kPi, 4.0f)), 0);
}

TEST(RoiTest, AngleIsMeasuredInPixels) {
  // Equal steps in units of a picture twice as wide as high: 26.57 degrees, not 45.
  const Roi roi = RoiAround({0.2f, 0.2f, 0.4f, 0.6f}, {0.1f, 0.1f, 0}, {0.3f, 0.3f, 0},
                            /*square=*/true, 200, 100);

  EXPECT_NEAR(roi.rotation, std::atan2(1.0f, 2.0f), 1e-6);
  EXPECT_FLOAT_EQ(roi.center_x, 0.3f);
  EXPECT_FLOAT_EQ(roi.center_y, 0.4f);
  // 40 x 40 pixels, times 1.5.
  EXPECT_FLOAT_EQ(roi.width, 60.0f / 200);
  EXPECT_FLOAT_EQ(roi.height, 60.0f / 100);
}

TEST(RoiTest, UpsideDownFaceHasAngleMinusPi) {
  const Roi roi = RoiAround({0, 0, 1, 1}, {0.6f, 0.5f, 0}, {0.4f, 0.5f, 0}, true, 100, 100);

  EXPECT_FLOAT_EQ(std::abs(roi.rotation), kPi);
}

Image Gradient(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.rgb.push_back(static_cast<uint8_t>(10 * x));
      image.rgb.push_back(static_cast<uint8_t>(10 * y));
      image.rgb.push_back(100);
    }
  }
  return image;
}

TEST(SampleTest, WholePictureAtItsOwnSizeIsUnchanged) {
  const Image image = Gradient(8, 8);
  std::vector<float> pixels(image.rgb.size());

  SampleRoi(image, Roi(), 8, Border::kRepeat, 1, 0, absl::MakeSpan(pixels));

  EXPECT_EQ(pixels, std::vector<float>(image.rgb.begin(), image.rgb.end()));
}

TEST(SampleTest, RotationIsClockwise) {
  const Image image = Gradient(8, 8);
  Roi roi;
  roi.rotation = kPi / 2;
  std::vector<float> pixels(3 * 4 * 4);

  SampleRoi(image, roi, 4, Border::kRepeat, 1, 0, absl::MakeSpan(pixels));

  // Right in the sample is down in the picture: sample (u, v) lies at (8 - 2v, 2u).
  for (int v = 1; v < 4; ++v) {
    for (int u = 0; u < 4; ++u) {
      EXPECT_EQ(pixels[3 * (4 * v + u)], 10.0f * static_cast<float>(8 - 2 * v));
      EXPECT_EQ(pixels[3 * (4 * v + u) + 1], 10.0f * static_cast<float>(2 * u));
    }
  }
}

TEST(SampleTest, BordersRepeatOrAreZero) {
  const Image image{1, 1, {200, 100, 50}};
  Roi roi;
  roi.width = roi.height = 4;
  std::vector<float> repeated(3 * 4 * 4), zero(3 * 4 * 4);

  SampleRoi(image, roi, 4, Border::kRepeat, 1, 0, absl::MakeSpan(repeated));
  SampleRoi(image, roi, 4, Border::kZero, 1, 0, absl::MakeSpan(zero));

  for (int i = 0; i < 16; ++i) EXPECT_EQ(repeated[3 * i], 200);
  float sum = 0;
  for (int i = 0; i < 16; ++i) sum += zero[3 * i];
  // The grid is half a pixel off the pixel's own position in both directions: four quarters.
  EXPECT_EQ(sum, 200);
}

TEST(SampleTest, LetterboxKeepsProportions) {
  const Roi roi = LetterboxRoi(200, 100);

  EXPECT_FLOAT_EQ(roi.width, 1);
  EXPECT_FLOAT_EQ(roi.height, 2);
}

TEST(SampleTest, AbsurdRegionsAreHarmless) {
  const Image image = Gradient(4, 4);
  std::vector<float> pixels(3 * 8 * 8);
  const float huge = std::numeric_limits<float>::max();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Roi& roi : {Roi{0.5f, 0.5f, huge, huge, 0}, Roi{nan, nan, 1, 1, 0},
                         Roi{0, 0, 1, 1, nan}, Roi{-huge, huge, 0, 0, 1}}) {
    SampleRoi(image, roi, 8, Border::kRepeat, 1, 0, absl::MakeSpan(pixels));
    for (const float value : pixels) EXPECT_TRUE(value >= 0 && value <= 255);
  }
}

TEST(ProjectTest, InvertsSampling) {
  Landmarks landmarks;
  landmarks.fill({0.5f, 0.5f, 0.1f});
  landmarks[1] = {1, 0.5f, 0.1f};
  Roi roi{0.25f, 0.5f, 0.2f, 0.4f, kPi / 2};  // 40 x 40 pixels

  ProjectFromRoi(roi, Depth::kByWidth, 200, 100, landmarks);

  EXPECT_NEAR(landmarks[0].x, 0.25f, 1e-6);
  EXPECT_NEAR(landmarks[0].y, 0.5f, 1e-6);
  EXPECT_NEAR(landmarks[0].z, 0.02f, 1e-6);
  // 20 pixels down.
  EXPECT_NEAR(landmarks[1].x, 0.25f, 1e-6);
  EXPECT_NEAR(landmarks[1].y, 0.7f, 1e-6);
}

// The canonical face drawn into the unit square: x' = x / 20 + 1/2, y' = 1/2 - y / 20.
Landmarks CanonicalFace() {
  Landmarks landmarks;
  for (int i = 0; i < kNumLandmarks; ++i) {
    const auto& v = kCanonicalVertices[i];
    landmarks[i] = {v[0] / 20 + 0.5f, 0.5f - v[1] / 20, -v[2] / 20};
  }
  return landmarks;
}

struct Cell {
  float mask, x, y;
};

Cell CellAt(const std::vector<float>& map, int side, int row, int column) {
  const int token = row / 8 * side + column / 8;
  const float* cell = &map[static_cast<size_t>(token) * kLandmarkMapWidth +
                           static_cast<size_t>(row % 8 * 8 + column % 8) * kLandmarkMapCellValues];
  return {cell[0], cell[1], cell[2]};
}

TEST(LandmarkMapTest, CanonicalFaceShowsItsOwnCoordinates) {
  const int side = 8;
  const int cells = 8 * side;

  const std::vector<float> map = LandmarkMap(CanonicalFace(), side);

  ASSERT_EQ(map.size(), static_cast<size_t>(side * side * kLandmarkMapWidth));
  int covered = 0;
  for (int row = 0; row < cells; ++row) {
    for (int column = 0; column < cells; ++column) {
      const Cell cell = CellAt(map, side, row, column);
      if (cell.mask == 0) {
        EXPECT_EQ(cell.x, 0);
        EXPECT_EQ(cell.y, 0);
        continue;
      }
      ++covered;
      EXPECT_EQ(cell.mask, 1);
      // What lies over the cell's centre, as the drawing was made.
      const float x = ((static_cast<float>(column) + 0.5f) / static_cast<float>(cells) - 0.5f) * 20;
      const float y = (0.5f - (static_cast<float>(row) + 0.5f) / static_cast<float>(cells)) * 20;
      EXPECT_NEAR(cell.x, x / 8, 2e-4);
      EXPECT_NEAR(cell.y, y / 9, 2e-4);
    }
  }
  // From the front hardly a triangle hides another: the covered part is the sum of their areas.
  double area = 0;
  for (const auto& t : kMeshTriangles) {
    const auto& p = kCanonicalVertices[t[0]];
    const auto& q = kCanonicalVertices[t[1]];
    const auto& r = kCanonicalVertices[t[2]];
    area += std::abs((q[0] - p[0]) * (r[1] - p[1]) - (r[0] - p[0]) * (q[1] - p[1])) / 2 / (20 * 20);
  }
  EXPECT_NEAR(covered / static_cast<double>(cells * cells), area, 0.01);
  EXPECT_EQ(CellAt(map, side, cells / 2, cells / 2).mask, 1);
  EXPECT_EQ(CellAt(map, side, 0, 0).mask, 0);
}

TEST(LandmarkMapTest, NearestTriangleWins) {
  // Turned by 60 degrees about the vertical axis, half of the face hides behind the nose. What is
  // seen must be nearer than any other point over the same cell: compare with the farthest, which
  // is what reversing z draws.
  Landmarks turned = CanonicalFace();
  const float c = std::cos(kPi / 3), s = std::sin(kPi / 3);
  for (Point3& p : turned) {
    const float x = p.x - 0.5f;
    p = {0.5f + c * x - s * p.z, p.y, s * x + c * p.z};
  }
  Landmarks reversed = turned;
  for (Point3& p : reversed) p.z = -p.z;
  const auto depth = [&](const Cell& cell) {  // of the canonical position, by its x and y: roughly
    return s * cell.x * 8 / 20;
  };

  const std::vector<float> near = LandmarkMap(turned, 8);
  const std::vector<float> far = LandmarkMap(reversed, 8);

  int hidden = 0;
  for (int row = 0; row < 64; ++row) {
    for (int column = 0; column < 64; ++column) {
      const Cell a = CellAt(near, 8, row, column);
      const Cell b = CellAt(far, 8, row, column);
      ASSERT_EQ(a.mask, b.mask);
      if (std::abs(a.x - b.x) < 0.05f) continue;
      ++hidden;
      EXPECT_LT(depth(a), depth(b));
    }
  }
  EXPECT_GT(hidden, 50);
}

TEST(LandmarkMapTest, OutsideAndBadPointsAreLeftOut) {
  Landmarks far = CanonicalFace();
  for (Point3& p : far) p.x += 5;
  EXPECT_THAT(LandmarkMap(far, 2), ::testing::Each(0));

  Landmarks huge = CanonicalFace();
  for (Point3& p : huge) p.x *= 1e30f, p.y *= -1e30f;
  (void)LandmarkMap(huge, 2);

  Landmarks bad = CanonicalFace();
  for (Point3& p : bad) p.z = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(LandmarkMap(bad, 2), ::testing::Each(0));
}

// Share of the picture in each of the three openings of a map of 8 x 8 tokens.
std::array<double, 3> Shares(const std::vector<float>& map) {
  std::array<double, 3> shares = {};
  for (size_t i = 0; i < map.size(); ++i) shares[i % 3] += map[i] / double{64 * 64};
  return shares;
}

// Area of the polygon over these points of a face, of the picture.
double AreaOf(const Landmarks& face, std::initializer_list<int> corners) {
  double twice = 0;
  for (auto i = corners.begin(); i != corners.end(); ++i) {
    const Point3& p = face[static_cast<size_t>(*i)];
    const Point3& q = face[static_cast<size_t>(i + 1 != corners.end() ? i[1] : *corners.begin())];
    twice += double{p.x} * q.y - double{q.x} * p.y;
  }
  return std::abs(twice) / 2;
}

// Closed lips of the canonical face opened by so much of the picture, downwards.
Landmarks WithOpenMouth(float by) {
  Landmarks face = CanonicalFace();
  for (const auto& lips : MotionRegions::kLips) face[lips.lower].y = face[lips.upper].y + by;
  return face;
}

TEST(OpeningMapTest, SharesAreTheAreasOfTheOpenings) {
  const Landmarks face = WithOpenMouth(0.05f);
  const double eyes =
      AreaOf(face, {33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7}) +
      AreaOf(face,
             {263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249});
  const double mouth = AreaOf(face, {78,  191, 80,  81,  82,  13, 312, 311, 310, 415,
                                     308, 324, 318, 402, 317, 14, 87,  178, 88,  95});

  const std::vector<float> map = OpeningMap(face, 8);

  ASSERT_EQ(map.size(), size_t{8 * 8 * kLandmarkMapWidth});
  EXPECT_THAT(map, ::testing::Each(::testing::AllOf(::testing::Ge(0), ::testing::Le(1))));
  const std::array<double, 3> shares = Shares(map);
  EXPECT_NEAR(shares[0], eyes, 0.02 * eyes);
  EXPECT_NEAR(shares[2], mouth, 0.02 * mouth);
  EXPECT_GT(shares[1], 0.2 * eyes);
  for (size_t i = 0; i < map.size(); i += 3) EXPECT_LE(map[i + 1], map[i]) << "an iris on a lid";
}

TEST(OpeningMapTest, FollowsLidsAndGaze) {
  const Landmarks open = CanonicalFace();
  Landmarks half = open, closed = open, left = open;
  for (const auto& eye : MotionRegions::kEyes) {
    for (const auto& lids : eye.lids) {
      half[lids.upper].y = (open[lids.upper].y + open[lids.lower].y) / 2;
      closed[lids.upper].y = open[lids.lower].y + 0.004f;  // even crossed
    }
    for (size_t i = 0; i < 5; ++i) left[eye.iris + i].x -= 0.008f;
  }
  const auto iris_column = [](const Landmarks& face) {  // mean of x
    const std::vector<float> map = OpeningMap(face, 8);
    double sum = 0, weight = 0;
    for (size_t token = 0; token < 64; ++token) {
      for (size_t cell = 0; cell < 64; ++cell) {
        const double share = map[token * kLandmarkMapWidth + 3 * cell + 1];
        sum += share * static_cast<double>(token % 8 * 8 + cell % 8) / 64;
        weight += share;
      }
    }
    return sum / weight;
  };

  const double of_open = Shares(OpeningMap(open, 8))[0];

  EXPECT_NEAR(Shares(OpeningMap(half, 8))[0], of_open / 2, 0.1 * of_open);
  EXPECT_LT(Shares(OpeningMap(closed, 8))[0], 0.02 * of_open);
  // Less than the irises moved, as lids cover more of them towards the corners.
  const double moved = iris_column(open) - iris_column(left);
  EXPECT_GT(moved, 0.004);
  EXPECT_LT(moved, 0.008);
}

TEST(OpeningMapTest, WhatIsTurnedAwayOutsideOrBadIsNotOpen) {
  Landmarks mirrored = WithOpenMouth(0.05f);  // as seen from behind
  for (Point3& p : mirrored) p.x = 1 - p.x;
  EXPECT_THAT(OpeningMap(mirrored, 8), ::testing::Each(0));

  Landmarks outside = WithOpenMouth(0.05f);
  for (Point3& p : outside) p.x += 5;
  EXPECT_THAT(OpeningMap(outside, 8), ::testing::Each(0));

  Landmarks bad = WithOpenMouth(0.05f);
  bad[159].x = std::numeric_limits<float>::quiet_NaN();  // a lid of the left eye
  const std::array<double, 3> shares = Shares(OpeningMap(bad, 8));
  const std::array<double, 3> good = Shares(OpeningMap(WithOpenMouth(0.05f), 8));
  EXPECT_NEAR(shares[0], good[0] / 2, 0.05 * good[0]);
  EXPECT_EQ(shares[2], good[2]);
}

TEST(NormalizeTest, IndexMajorAndCentred) {
  Landmarks landmarks;
  landmarks.fill({});
  landmarks[0] = {0.5f, 1, 0.25f};
  landmarks[477] = {0.75f, 0.25f, -0.5f};

  const auto numbers = NormalizeLandmarks(landmarks);

  EXPECT_EQ(numbers[0], 0);
  EXPECT_EQ(numbers[1], 1);
  EXPECT_EQ(numbers[2], 0.5f);
  EXPECT_EQ(numbers[3 * 477], 0.5f);
  EXPECT_EQ(numbers[3 * 477 + 1], -0.5f);
  EXPECT_EQ(numbers[3 * 477 + 2], -1);
}

// A face whose box is `left, top, width, height` in units of the picture.
Landmarks BoxFace(float left, float top, float width, float height) {
  Landmarks face;
  face.fill({left + width / 2, top + height / 2, 0});
  face[0] = {left, top, 0};
  face[1] = {left + width, top + height, 0};
  return face;
}

TEST(CropTest, BoxIsTheMedianFaceAndItsHeightIs53Percent) {
  const std::vector<Landmarks> faces = {BoxFace(0.4f, 0.2f, 0.2f, 0.53f),
                                        BoxFace(0.5f, 0.3f, 0.2f, 0.4f),
                                        BoxFace(0.6f, 0.1f, 0.2f, 0.6f)};

  const CropBox box = FaceCrop(faces, 200, 100);

  EXPECT_NEAR(box.center_x, 0.6 * 200, 1e-3);
  EXPECT_NEAR(box.center_y, 0.465 * 100, 1e-3);  // of 0.465, 0.5, 0.4
  EXPECT_NEAR(box.side, 53 / 0.53, 1e-3);
}

TEST(CropTest, WithoutFacesTheLargestCentredSquare) {
  const CropBox box = FaceCrop({}, 200, 100);

  EXPECT_EQ(box.center_x, 100);
  EXPECT_EQ(box.center_y, 50);
  EXPECT_EQ(box.side, 100);
}

TEST(CropTest, WholePixelsAreCopied) {
  const Image image = Gradient(8, 8);

  const Image crop = CropImage(image, {4, 5, 4}, 4);

  ASSERT_EQ(crop.width, 4);
  ASSERT_EQ(crop.height, 4);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x) {
      EXPECT_EQ(crop.row(y)[3 * x], 10 * (x + 2));
      EXPECT_EQ(crop.row(y)[3 * x + 1], 10 * (y + 3));
    }
  }
}

TEST(CropTest, ShrinkingAveragesAreas) {
  const Image image = Gradient(8, 8);

  const Image crop = CropImage(image, {4, 4, 8}, 2);

  EXPECT_EQ(crop.row(0)[0], 15);  // of 0, 10, 20, 30
  EXPECT_EQ(crop.row(0)[3], 55);
  EXPECT_EQ(crop.row(1)[1], 55);
}

TEST(CropTest, GrowingInterpolates) {
  const Image image{2, 1, {0, 0, 0, 100, 100, 100}};

  const Image crop = CropImage(image, {1, 0.5, 2}, 4);

  EXPECT_EQ(crop.row(0)[0], 0);
  EXPECT_EQ(crop.row(0)[3], 25);
  EXPECT_EQ(crop.row(0)[6], 75);
  EXPECT_EQ(crop.row(0)[9], 100);
}

TEST(CropTest, OutsideRepeatsTheBorder) {
  const Image image = Gradient(4, 4);

  const Image crop = CropImage(image, {-100, 2, 8}, 4);
  const Image around = CropImage(image, {2, 2, 1000}, 8);

  for (int x = 0; x < 4; ++x) EXPECT_EQ(crop.row(1)[3 * x], 0);
  EXPECT_EQ(around.row(0)[0], 0);
  EXPECT_EQ(around.row(7)[3 * 7], 30);
  EXPECT_EQ(around.row(3)[2], 100);
}

TEST(CropTest, LandmarksFollowTheCrop) {
  Landmarks landmarks;
  landmarks.fill({0.5f, 0.5f, 0.1f});
  landmarks[1] = {0.25f, 0.75f, 0};

  const Landmarks inside = ToCrop(landmarks, {100, 50, 50}, 200, 100);

  EXPECT_FLOAT_EQ(inside[0].x, 0.5f);
  EXPECT_FLOAT_EQ(inside[0].y, 0.5f);
  EXPECT_FLOAT_EQ(inside[0].z, 0.4f);
  EXPECT_FLOAT_EQ(inside[1].x, -0.5f);
  EXPECT_FLOAT_EQ(inside[1].y, 1.0f);
}

}  // namespace
}  // namespace reenact
