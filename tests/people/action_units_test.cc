#include "training/people/action_units.h"

#include <gtest/gtest.h>

#include <cmath>

#include "training/people/face_mesh.h"
#include "training/people/face_warp.h"

namespace reenact {
namespace {

// Indices of mirrored vertices.
size_t MirrorOf(size_t vertex) {
  const auto& v = kCanonicalVertices;
  size_t best = 0;
  float nearest = 1e9f;
  for (size_t i = 0; i < kNumSurfaceVertices; ++i) {
    const float dx = v[i][0] + v[vertex][0], dy = v[i][1] - v[vertex][1],
                dz = v[i][2] - v[vertex][2];
    const float distance = dx * dx + dy * dy + dz * dz;
    if (distance < nearest) nearest = distance, best = i;
  }
  return best;
}

TEST(RestingFaceTest, MouthIsClosedAndEyesAreOpen) {
  const FaceVertices& face = RestingFace();
  EXPECT_NEAR(face[13].y - face[14].y, 0.05f, 0.005f);
  for (const Facing& pair : kLips) {
    EXPECT_GE(face[static_cast<size_t>(pair.upper)].y, face[static_cast<size_t>(pair.lower)].y);
    EXPECT_LT(face[static_cast<size_t>(pair.upper)].y - face[static_cast<size_t>(pair.lower)].y,
              0.07f);
  }
  EXPECT_NEAR(face[159].y - face[145].y, 0.8f, 0.03f);
}

TEST(RestingFaceTest, TrianglesKeepTheirSide) {
  // Seen from the front, no triangle of the closed face is turned over against the canonical one.
  const FaceVertices& face = RestingFace();
  int turned = 0;
  for (const auto& triangle : kMeshTriangles) {
    const int a = triangle[0], b = triangle[1], c = triangle[2];
    const auto area = [&](auto at) {
      return (at(b, 0) - at(a, 0)) * (at(c, 1) - at(a, 1)) -
             (at(b, 1) - at(a, 1)) * (at(c, 0) - at(a, 0));
    };
    const float canonical =
        area([](int i, size_t axis) { return kCanonicalVertices[static_cast<size_t>(i)][axis]; });
    const float closed = area([&](int i, size_t axis) {
      const Vec3& p = face[static_cast<size_t>(i)];
      return axis == 0 ? p.x : p.y;
    });
    turned += canonical * closed < 0 && std::abs(closed) > 0.02f;
  }
  EXPECT_EQ(turned, 0);
}

TEST(TriangleMaterialsTest, EyesAndMouthAreFilledByTheirRings) {
  int eyes = 0, mouth = 0, lips = 0, skin = 0;
  for (Material material : TriangleMaterials()) {
    eyes += material == Material::kLeftEye || material == Material::kRightEye;
    mouth += material == Material::kMouth;
    lips += material == Material::kLip;
    skin += material == Material::kSkin;
  }
  // A polygon of n corners is n - 2 triangles.
  EXPECT_EQ(eyes, 2 * (16 - 2));
  EXPECT_EQ(mouth, 20 - 2);
  EXPECT_GT(lips, 80);
  EXPECT_EQ(eyes + mouth + lips + skin, kNumMeshTriangles);
}

// The measured 97 % ranges, cm.
TEST(ActionUnitsTest, JawDropReachesTheMeasuredRange) {
  Expression e;
  e.jaw_drop = 1;
  const FaceVertices face = ExpressiveFace(e);
  const FaceVertices& rest = RestingFace();
  EXPECT_NEAR(face[13].y - face[14].y, 3.1f, 0.4f);
  EXPECT_NEAR(face[152].y - rest[152].y, -1.45f, 0.15f);
  EXPECT_NEAR(face[152].z - rest[152].z, -1.35f, 0.15f);
  EXPECT_LT(face[17].y, face[14].y);
  EXPECT_LT(face[152].y, face[17].y - 1) << "the chin stays below the lip";
  EXPECT_NEAR(face[10].y, rest[10].y, 1e-6f);
  EXPECT_NEAR(face[468].y, rest[468].y, 1e-6f);
}

TEST(ActionUnitsTest, SmileWidensAndPuckerNarrows) {
  const auto width = [](const FaceVertices& face) { return face[291].x - face[61].x; };
  const float rest = width(RestingFace());
  Expression smile, pucker, frown;
  smile.smile = 1;
  frown.smile = -1;
  pucker.pucker = 1;
  EXPECT_NEAR(width(ExpressiveFace(smile)), rest + 1.3f, 0.4f);
  EXPECT_GT(ExpressiveFace(smile)[61].y, RestingFace()[61].y + 0.5f);
  EXPECT_LT(ExpressiveFace(frown)[61].y, RestingFace()[61].y - 0.4f);
  EXPECT_NEAR(width(ExpressiveFace(pucker)), 3.5f, 0.4f);
  EXPECT_GT(ExpressiveFace(pucker)[0].z, RestingFace()[0].z + 0.2f);
}

TEST(ActionUnitsTest, SidesAndSignsAreThePictures) {
  Expression e;
  e.mouth_shift = 1;
  EXPECT_GT(ExpressiveFace(e)[13].x, 0.4f);
  e = {};
  e.gaze_x = 1;
  e.gaze_y = 1;
  EXPECT_GT(ExpressiveFace(e)[468].x, RestingFace()[468].x + 0.3f);
  EXPECT_GT(ExpressiveFace(e)[468].y, RestingFace()[468].y + 0.2f);
  e = {};
  e.brow_outer = e.brow_inner = 1;
  EXPECT_GT(ExpressiveFace(e)[105].y, RestingFace()[105].y + 0.5f);
  EXPECT_GT(ExpressiveFace(e)[107].y, RestingFace()[107].y + 0.5f);
  EXPECT_NEAR(ExpressiveFace(e)[159].y, RestingFace()[159].y, 0.05f)
      << "brows do not pull the lids";
  e = {};
  e.upper_lip_raise = 1;
  EXPECT_GT(ExpressiveFace(e)[13].y, RestingFace()[13].y + 0.4f);
  e = {};
  e.lower_lip_drop = 1;
  EXPECT_LT(ExpressiveFace(e)[14].y, RestingFace()[14].y - 0.4f);
  e = {};
  e.cheek_raise = 1;
  EXPECT_GT(ExpressiveFace(e)[145].y, RestingFace()[145].y + 0.05f);
}

TEST(ActionUnitsTest, BothSidesMoveAlike) {
  Expression e;
  e.jaw_drop = 0.7f;
  e.smile = 0.5f;
  e.pucker = 0.3f;
  e.eye_close_left = e.eye_close_right = 0.4f;
  e.brow_inner = 0.6f;
  e.brow_outer = -0.3f;
  e.cheek_raise = 0.5f;
  e.upper_lip_raise = 0.4f;
  const FaceVertices face = ExpressiveFace(e);
  for (size_t i = 0; i < kNumSurfaceVertices; ++i) {
    const Vec3 &p = face[i], &q = face[MirrorOf(i)];
    EXPECT_NEAR(p.x, -q.x, 0.03f) << i;
    EXPECT_NEAR(p.y, q.y, 0.03f) << i;
    EXPECT_NEAR(p.z, q.z, 0.03f) << i;
  }
}

TEST(ActionUnitsTest, LidsAndLipsNeverCross) {
  for (int i = 0; i < 64; ++i) {
    Expression e;
    const auto bit = [&](int k) { return (i >> k & 1) != 0; };
    e.smile = bit(0) ? 1 : -1;
    e.pucker = bit(1);
    e.mouth_shift = bit(2) ? 1 : -1;
    e.eye_close_left = e.eye_close_right = bit(3) ? 1 : 0.9f;
    e.gaze_y = bit(4) ? 1 : -1;
    e.cheek_raise = bit(5);
    const FaceVertices face = ExpressiveFace(e);
    const auto check = [&](const auto& pairs) {
      for (const Facing& pair : pairs) {
        EXPECT_GT(face[static_cast<size_t>(pair.upper)].y, face[static_cast<size_t>(pair.lower)].y)
            << i;
      }
    };
    check(kLeftLids);
    check(kRightLids);
    check(kLips);
  }
}

TEST(WarpTest, AverageShapeOnlyLowersTheForeheadAndShortensTheChin) {
  for (const Vec3& p : RestingFace()) {
    const Vec3 q = Warp(FaceShape{}, p);
    EXPECT_NEAR(q.x, p.x, 1e-5f);
    EXPECT_NEAR(q.z, p.z, 1e-5f);
    EXPECT_NEAR(q.y, p.y, p.y < -4.8f ? 0.5001f : p.y < 4.5f ? 1e-5f : 0.8001f);
  }
  EXPECT_NEAR(Warp(FaceShape{}, {0, 8.6f, 4}).y, 7.8f, 1e-4f);
  EXPECT_NEAR(Warp(FaceShape{}, {0, -9.4f, 4}).y, -8.9f, 1e-4f);
}

TEST(WarpTest, EachNumberDoesWhatItSays) {
  const auto warped = [](auto member, size_t vertex) {
    FaceShape shape;
    shape.*member = 1;
    return Warp(shape, RestingFace()[vertex]);
  };
  const FaceVertices& rest = RestingFace();
  EXPECT_GT(warped(&FaceShape::face_width, 454).x, rest[454].x + 0.5f);
  EXPECT_GT(warped(&FaceShape::jaw_width, 397).x, rest[397].x + 0.4f);
  EXPECT_LT(warped(&FaceShape::chin_length, 152).y, Warp(FaceShape{}, rest[152]).y - 0.5f);
  EXPECT_LT(warped(&FaceShape::nose_length, 1).y, rest[1].y - 0.2f);
  EXPECT_GT(warped(&FaceShape::nose_protrusion, 1).z, rest[1].z + 0.3f);
  EXPECT_GT(warped(&FaceShape::nose_width, 358).x, rest[358].x + 0.1f);
  EXPECT_GT(warped(&FaceShape::eye_size, 159).y - warped(&FaceShape::eye_size, 145).y,
            rest[159].y - rest[145].y + 0.1f);
  EXPECT_GT(warped(&FaceShape::eye_spacing, 473).x, rest[473].x + 0.15f);
  EXPECT_GT(warped(&FaceShape::mouth_width, 291).x, rest[291].x + 0.15f);
  EXPECT_GT(warped(&FaceShape::brow_height, 105).y, rest[105].y + 0.15f);
  EXPECT_GT(warped(&FaceShape::lip_thickness, 0).y - warped(&FaceShape::lip_thickness, 17).y,
            rest[0].y - rest[17].y + 0.15f);
}

}  // namespace
}  // namespace reenact
