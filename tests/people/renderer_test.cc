#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kNumIdentities = 50;

float Gap(const Landmarks& l, size_t upper, size_t lower) { return l[lower].y - l[upper].y; }
float FaceHeight(const Landmarks& l) { return l[152].y - l[10].y; }

Rgb ColorAt(const Image& image, float x, float y) {
  const int px = static_cast<int>(x * static_cast<float>(image.width));
  const int py = static_cast<int>(y * static_cast<float>(image.height));
  const uint8_t* p = image.row(py) + px * 3;
  return {static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2])};
}

TEST(PersonRendererTest, SameArgumentsSameBytes) {
  const FaceState state = MakeClip(4, 30, 25).back();
  const Render once = PersonRenderer(MakePerson(3)).Draw(state, 96);

  const PersonRenderer renderer(MakePerson(3));
  renderer.Draw(MakeClip(8, 1, 25).front(), 64);  // leaves no trace
  const Render again = renderer.Draw(state, 96);

  EXPECT_EQ(once.image.rgb, again.image.rgb);
  EXPECT_EQ(std::memcmp(once.landmarks.data(), again.landmarks.data(), sizeof(Landmarks)), 0);
  EXPECT_NE(once.image.rgb, PersonRenderer(MakePerson(4)).Draw(state, 96).image.rgb);
}

TEST(PersonRendererTest, TruthSaysWhatIsSeenAndHowFar) {
  Person person = MakePerson(3);
  person.glasses = Glasses::kNone;
  person.hat = Hat::kNone;
  person.hair_style = HairStyle::kShort;
  person.fringe_length = 0;
  person.backdrop = Backdrop::kPlain;
  FaceState state;
  state.expression.jaw_drop = 1;
  constexpr int kSize = 128;
  const PersonRenderer renderer(person);
  const Render render = renderer.Draw(state, kSize, 1);

  const Truth truth = renderer.DrawTruth(state, kSize);

  ASSERT_EQ(truth.regions.size(), size_t{kSize * kSize});
  ASSERT_EQ(truth.depth.size(), size_t{kSize * kSize});
  const auto at = [&](float x, float y) {
    return static_cast<size_t>(y * kSize) * kSize + static_cast<size_t>(x * kSize);
  };
  const auto region = [&](size_t landmark) {
    return truth.regions[at(render.landmarks[landmark].x, render.landmarks[landmark].y)];
  };
  EXPECT_EQ(region(4), Region::kSkin);    // the nose's tip
  EXPECT_EQ(region(468), Region::kEyes);  // an iris
  const Point3 &upper = render.landmarks[13], &lower = render.landmarks[14];
  EXPECT_EQ(truth.regions[at((upper.x + lower.x) / 2, (upper.y + lower.y) / 2)], Region::kMouth);
  EXPECT_EQ(truth.regions[at(0.02f, 0.02f)], Region::kBackground);
  EXPECT_EQ(truth.regions[at(0.5f, 0.99f)], Region::kClothes);
  // The camera is 60 cm from the mesh's origin, the nose before it, the cheek bones behind the
  // nose.
  const auto depth = [&](size_t landmark) {
    return truth.depth[at(render.landmarks[landmark].x, render.landmarks[landmark].y)];
  };
  EXPECT_LT(depth(4), depth(50));
  EXPECT_GT(depth(4), 45);
  EXPECT_LT(depth(4), 60);
  size_t background = 0;
  for (size_t i = 0; i < truth.regions.size(); ++i) {
    EXPECT_EQ(truth.depth[i] == 0, truth.regions[i] == Region::kBackground);
    if (truth.regions[i] != Region::kBackground) continue;
    ++background;
    // What is background in the truth is background in the picture.
    const uint8_t* pixel = &render.image.rgb[3 * i];
    EXPECT_NEAR(pixel[0], person.background.color.r, 1);
  }
  EXPECT_GT(background, size_t{kSize * kSize / 5});
}

TEST(PersonRendererTest, ANearCameraMakesTheNoseLarger) {
  Person near = MakePerson(3), far = MakePerson(3);
  near.lens.distance = 40;
  far.lens.distance = 110;
  const auto share = [](const Person& person) {
    const Landmarks l = PersonRenderer(person).Draw({}, 64, 1).landmarks;
    return (l[358].x - l[129].x) / (l[454].x - l[234].x);  // the nose's width of the face's
  };

  EXPECT_GT(share(near), 1.03f * share(far));
}

TEST(PersonRendererTest, ExtraLightAndExposureShow) {
  Person dark = MakePerson(3), lit = MakePerson(3);
  lit.extra_lights = {{{0.6f, 0, 0.8f}, 0, 0.3f}};
  dark.lens.exposure = 0.8f;
  const auto brightness = [](const Person& person) {
    const Image image = PersonRenderer(person).Draw({}, 64, 1).image;
    double sum = 0;
    for (const uint8_t value : image.rgb) sum += value;
    return sum;
  };

  const double plain = brightness(MakePerson(3));

  EXPECT_GT(brightness(lit), plain);
  EXPECT_NEAR(brightness(dark) / plain, 0.8, 0.02);
}

TEST(PersonRendererTest, LandmarksAreTheSameAtEverySize) {
  const PersonRenderer renderer(MakePerson(11));
  const FaceState state = MakeClip(2, 1, 25).front();
  const Render small = renderer.Draw(state, 64, 1), large = renderer.Draw(state, 256, 2);
  EXPECT_EQ(small.image.width, 64);
  EXPECT_EQ(large.image.height, 256);
  EXPECT_EQ(large.image.rgb.size(), size_t{256 * 256 * 3});
  for (size_t i = 0; i < kNumLandmarks; ++i) {
    EXPECT_NEAR(small.landmarks[i].x, large.landmarks[i].x, 1e-5f);
    EXPECT_NEAR(small.landmarks[i].y, large.landmarks[i].y, 1e-5f);
    EXPECT_NEAR(small.landmarks[i].z, large.landmarks[i].z, 1e-5f);
  }
}

TEST(PersonRendererTest, LandmarksOfClipsLieInThePictureAndAreFinite) {
  for (uint64_t seed = 0; seed < kNumIdentities; ++seed) {
    const PersonRenderer renderer(MakePerson(seed));
    for (const FaceState& state : MakeClip(seed, 10, 2)) {
      const Landmarks landmarks = renderer.Draw(state, 16, 1).landmarks;
      double mean_z = 0;
      for (const Point3& p : landmarks) {
        ASSERT_TRUE(p.x > 0 && p.x < 1 && p.y > 0 && p.y < 1) << seed << ": " << p.x << " " << p.y;
        ASSERT_LT(std::abs(p.z), 0.5f);
        mean_z += p.z / kNumLandmarks;
      }
      EXPECT_NEAR(mean_z, 0, 1e-4);
      EXPECT_LT(landmarks[1].z, landmarks[234].z) << "the nose is nearer than the ear";
      EXPECT_GT(landmarks[152].y, landmarks[10].y);
    }
  }
}

TEST(PersonRendererTest, EyesAreDrawnWhereTheirLandmarksAre) {
  Person person = MakePerson(2);
  person.glasses = Glasses::kNone;
  person.hat = Hat::kNone;
  person.fringe_length = 0;
  person.hair_style = HairStyle::kShort;
  person.eyes.color = {0, 0, 255};  // nothing else is blue
  person.background.color = {200, 200, 200};
  const PersonRenderer renderer(person);
  for (const float gaze : {-0.8f, 0.0f, 0.8f}) {
    for (const float yaw : {-15.0f, 0.0f, 15.0f}) {
      SCOPED_TRACE(gaze);
      FaceState state;
      state.expression.gaze_x = gaze;
      state.expression.eyes_wide = 1;
      state.pose.yaw = yaw;
      const Render render = renderer.Draw(state, 512, 2);
      for (size_t center : {size_t{468}, size_t{473}}) {
        const Point3 iris = render.landmarks[center];
        // Beside the pupil, inside the rim: 0.6 of the radius, on both sides.
        const float radius =
            std::abs(render.landmarks[center + 1].x - render.landmarks[center + 3].x) / 2;
        for (const float side : {-0.62f, 0.62f}) {
          const Rgb color = ColorAt(render.image, iris.x + side * radius, iris.y + 0.1f * radius);
          EXPECT_GT(color.b, 1.3f * color.r + 20) << center << " " << yaw << " " << side;
        }
      }
    }
  }
}

TEST(PersonRendererTest, MouthOpensWithTheJawForEverybody) {
  for (uint64_t seed = 0; seed < kNumIdentities; ++seed) {
    const PersonRenderer renderer(MakePerson(seed));
    float before = 0;
    for (const float jaw : {0.0f, 0.25f, 0.5f, 0.75f, 1.0f}) {
      FaceState state;
      state.expression.jaw_drop = jaw;
      const Landmarks l = renderer.Draw(state, 8, 1).landmarks;
      const float gap = Gap(l, 13, 14) / FaceHeight(l);
      if (jaw == 0) {
        EXPECT_LT(gap, 0.008f) << seed;
        EXPECT_GE(gap, 0) << seed;
      } else {
        EXPECT_GT(gap, before + 0.02f) << seed;
      }
      before = gap;
    }
    EXPECT_GT(before, 0.12f) << seed;
  }
}

TEST(PersonRendererTest, ClosedEyesAreClosedForEverybody) {
  constexpr std::pair<size_t, size_t> kLids[] = {
      {159, 145}, {158, 153}, {160, 144}, {157, 154}, {161, 163}, {246, 7},   {173, 155},
      {386, 374}, {385, 380}, {387, 373}, {384, 381}, {388, 390}, {466, 249}, {398, 382}};
  for (uint64_t seed = 0; seed < kNumIdentities; ++seed) {
    const PersonRenderer renderer(MakePerson(seed));
    FaceState open, closed;
    closed.expression.eye_close_left = closed.expression.eye_close_right = 1;
    // What else pulls at the lids.
    closed.expression.eyes_wide = static_cast<float>(seed % 2);
    closed.expression.gaze_y = static_cast<float>(seed % 3) - 1;
    closed.expression.cheek_raise = closed.expression.smile = static_cast<float>(seed % 4) / 3;
    closed.expression.brow_outer = closed.expression.brow_inner =
        static_cast<float>(seed % 5) / 2 - 1;
    const Landmarks before = renderer.Draw(open, 8, 1).landmarks,
                    after = renderer.Draw(closed, 8, 1).landmarks;
    EXPECT_GT(Gap(before, 159, 145) / FaceHeight(before), 0.03f) << seed;
    EXPECT_GT(Gap(before, 386, 374) / FaceHeight(before), 0.03f) << seed;
    for (const auto& [upper, lower] : kLids) {
      // 0.016 cm of a face of about 17 cm, enlarged a little by big eyes.
      EXPECT_LT(std::abs(Gap(after, upper, lower)) / FaceHeight(after), 0.0025f)
          << seed << " " << upper;
    }
  }
}

TEST(PersonRendererTest, OneEyeClosesAlone) {
  FaceState wink;
  wink.expression.eye_close_left = 1;
  const Landmarks l = PersonRenderer(MakePerson(1)).Draw(wink, 8, 1).landmarks;
  EXPECT_LT(l[468].x, 0.5f) << "left is the picture's left";
  EXPECT_LT(Gap(l, 159, 145), 0.003f);
  EXPECT_GT(Gap(l, 386, 374), 0.015f);
}

TEST(PersonRendererTest, PoseSignsAreAsDocumented) {
  const PersonRenderer renderer(MakePerson(6));
  const auto draw = [&](Pose pose) { return renderer.Draw({pose, {}, {}}, 8, 1).landmarks; };
  const auto nose_offset = [](const Landmarks& l) { return l[1].x - (l[234].x + l[454].x) / 2; };

  EXPECT_GT(nose_offset(draw({25, 0, 0})), 0.05f);
  EXPECT_LT(nose_offset(draw({-25, 0, 0})), -0.05f);
  EXPECT_GT(draw({0, 15, 0})[1].y, draw({})[1].y + 0.02f);
  EXPECT_LT(draw({0, -15, 0})[1].y, draw({})[1].y - 0.02f);
  EXPECT_LT(draw({0, 0, 12})[10].x, draw({})[10].x - 0.03f);
  EXPECT_GT(draw({0, 0, -12})[10].x, draw({})[10].x + 0.03f);
}

TEST(PersonRendererTest, ViewMovesAndScales) {
  const PersonRenderer renderer(MakePerson(6));
  const Landmarks rest = renderer.Draw({}, 8, 1).landmarks;
  const Landmarks moved = renderer.Draw({{}, {}, {0.1f, -0.05f, 1}}, 8, 1).landmarks;
  const Landmarks larger = renderer.Draw({{}, {}, {0, 0, 1.1f}}, 8, 1).landmarks;
  EXPECT_NEAR(moved[1].x - rest[1].x, 0.1f, 1e-5f);
  EXPECT_NEAR(moved[1].y - rest[1].y, -0.05f, 1e-5f);
  EXPECT_NEAR(FaceHeight(larger) / FaceHeight(rest), 1.1f, 1e-4f);
}

TEST(PersonRendererTest, FacesFillTheDocumentedShareOfThePicture) {
  double sum = 0;
  for (uint64_t seed = 0; seed < kNumIdentities; ++seed) {
    sum += FaceHeight(PersonRenderer(MakePerson(seed)).Draw({}, 8, 1).landmarks) / kNumIdentities;
  }
  EXPECT_NEAR(sum, 0.58, 0.02);
}

TEST(PersonRendererTest, SkinIsSkinColored) {
  for (uint64_t seed = 0; seed < kNumIdentities; ++seed) {
    const Person person = MakePerson(seed);
    const Render render = PersonRenderer(person).Draw({}, 128);
    // The bridge of the nose is never covered.
    const Point3 nose = render.landmarks[5];
    const Rgb color = ColorAt(render.image, nose.x, nose.y);
    const float brightness = (color.r + color.g + color.b) /
                             (person.skin.color.r + person.skin.color.g + person.skin.color.b);
    EXPECT_GT(brightness, 0.5f) << seed;
    EXPECT_LT(brightness, 1.6f) << seed;
  }
}

TEST(PersonRendererTest, HeadsHaveNoHoles) {
  // On a background no face has: green must not shine through the oval.
  for (uint64_t seed = 0; seed < kNumIdentities; ++seed) {
    Person person = MakePerson(seed);
    person.background.color = {0, 255, 0};
    person.backdrop = Backdrop::kPlain;
    const PersonRenderer renderer(person);
    for (const FaceState& state : MakeClip(seed, 3, 1)) {
      const Render render = renderer.Draw(state, 128, 1);
      const Point3 top = render.landmarks[10], chin = render.landmarks[152];
      for (float t = 0.03f; t < 0.98f; t += 0.01f) {
        const Rgb color =
            ColorAt(render.image, top.x + t * (chin.x - top.x), top.y + t * (chin.y - top.y));
        ASSERT_FALSE(color.g == 255 && color.r == 0 && color.b == 0) << seed << " " << t;
      }
    }
  }
}

TEST(ContactSheetTest, HasTheAskedSizeAndDifferentPeople) {
  const Image sheet = ContactSheet(20, 3, 2, 32);
  ASSERT_EQ(sheet.width, 96);
  ASSERT_EQ(sheet.height, 64);
  ASSERT_EQ(sheet.rgb.size(), size_t{96 * 64 * 3});
  const Image first = PersonRenderer(MakePerson(20)).Draw(MakeClip(20, 1, 25).front(), 32).image;
  const Image last = PersonRenderer(MakePerson(25)).Draw(MakeClip(25, 1, 25).front(), 32).image;
  EXPECT_EQ(std::memcmp(sheet.row(5), first.row(5), 96), 0);
  EXPECT_EQ(std::memcmp(sheet.row(32 + 7) + 64 * 3, last.row(7), 96), 0);
}

}  // namespace
}  // namespace reenact
