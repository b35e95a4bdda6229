#include "pipeline/compose/paste_back.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "training/people/people.h"

namespace reenact {
namespace {

// A person in a wide picture, whose sides repeat the square's outermost columns.
struct Scene {
  Image image;
  Landmarks landmarks;  // in units of the picture
};

Scene MakeScene(const PersonRenderer& person, const FaceState& state, int width, int height) {
  const Render render = person.Draw(state, height, 1);
  Scene scene;
  scene.image = {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  const int left = (width - height) / 2;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const uint8_t* from = render.image.row(y) + std::clamp(x - left, 0, height - 1) * 3;
      std::copy(from, from + 3, scene.image.row(y) + x * 3);
    }
  }
  scene.landmarks = render.landmarks;
  for (Point3& p : scene.landmarks) {
    p.x = (p.x * static_cast<float>(height) + static_cast<float>(left)) / static_cast<float>(width);
    p.z = p.z * static_cast<float>(height) / static_cast<float>(width);
  }
  return scene;
}

constexpr int kWidth = 640, kHeight = 480;
// Whole pixels; all sides inside the picture.
constexpr CropBox kBox = {320, 240, 400};

FaceState Talking() {
  FaceState state;
  state.pose = {12, 5, -4};
  state.expression.jaw_drop = 0.6f;
  state.expression.smile = 0.5f;
  return state;
}

Image Tinted(Image image, float red, float blue, float offset) {
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    const float gain = i % 3 == 0 ? red : (i % 3 == 2 ? blue : 1);
    image.rgb[i] =
        static_cast<uint8_t>(std::clamp(image.rgb[i] * gain + offset + 0.5f, 0.0f, 255.0f));
  }
  return image;
}

PasteBack::Faces FacesOf(const Scene& generated, const Scene& original, const CropBox& box) {
  return {ToCrop(generated.landmarks, box, original.image.width, original.image.height),
          ToCrop(original.landmarks, box, original.image.width, original.image.height)};
}

// Mean absolute difference in levels over the pixels where `use(x, y)`.
template <typename Use>
double MeanDifference(const Image& a, const Image& b, Use use) {
  double sum = 0;
  int64_t count = 0;
  for (int y = 0; y < a.height; ++y) {
    for (int x = 0; x < a.width; ++x) {
      if (!use(x, y)) continue;
      for (int c = 0; c < 3; ++c) {
        sum += std::abs(int{a.row(y)[3 * x + c]} - int{b.row(y)[3 * x + c]});
      }
      count += 3;
    }
  }
  return sum / static_cast<double>(std::max<int64_t>(count, 1));
}

int MaxDifference(const Image& a, const Image& b) {
  int worst = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    worst = std::max(worst, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  }
  return worst;
}

bool InBox(const CropBox& box, int x, int y) {
  return std::abs(x + 0.5 - box.center_x) <= box.side / 2 &&
         std::abs(y + 0.5 - box.center_y) <= box.side / 2;
}

class PasteBackTest : public ::testing::Test {
 protected:
  const PersonRenderer person_{MakePerson(40)};
  const Scene before_ = MakeScene(person_, {}, kWidth, kHeight);
  const Scene after_ = MakeScene(person_, Talking(), kWidth, kHeight);
};

TEST_F(PasteBackTest, PixelsOutsideTheBoxStayBitEqual) {
  for (const CropBox box : {kBox, CropBox{300.3, 211.8, 333.4}, CropBox{600, 20, 300.5},
                            CropBox{-20, 470, 180}, CropBox{320, 240, 1500}}) {
    for (const MatteArea area : {MatteArea::kFace, MatteArea::kHead, MatteArea::kCrop}) {
      const Image generated{256, 256, std::vector<uint8_t>(256 * 256 * 3, 200)};
      Image frame = before_.image;
      PasteBack paste({.area = area, .colour_match = 0});

      ASSERT_TRUE(paste.Blend(generated, box, FacesOf(after_, before_, box), frame).ok());

      for (int y = 0; y < kHeight; ++y) {
        for (int x = 0; x < kWidth; ++x) {
          if (InBox(box, x, y)) continue;
          ASSERT_TRUE(std::equal(frame.row(y) + 3 * x, frame.row(y) + 3 * x + 3,
                                 before_.image.row(y) + 3 * x))
              << x << ", " << y;
        }
      }
      // What it does inside depends on the matte, which may end before a corner.
      if (area == MatteArea::kCrop) {
        EXPECT_GT(MaxDifference(frame, before_.image), 10);
      }
    }
  }
}

TEST_F(PasteBackTest, TheSamePictureChangesNothing) {
  const Image same = CropImage(before_.image, kBox, 400);
  Image frame = before_.image;

  ASSERT_TRUE(PasteBack({}).Blend(same, kBox, FacesOf(before_, before_, kBox), frame).ok());

  EXPECT_EQ(frame.rgb, before_.image.rgb);
}

TEST_F(PasteBackTest, AResampledCopyChangesLittle) {
  // Between pixels, larger and smaller than the generated square.
  for (const CropBox box :
       {CropBox{320.3, 239.6, 400.7}, CropBox{320.3, 239.6, 300.2}, CropBox{320.3, 239.6, 700}}) {
    const Image same = CropImage(before_.image, box, 400);
    Image frame = before_.image;

    ASSERT_TRUE(PasteBack({}).Blend(same, box, FacesOf(before_, before_, box), frame).ok());

    const auto in_box = [&](int x, int y) { return InBox(box, x, y); };
    EXPECT_LT(MeanDifference(frame, before_.image, in_box), 1.2) << box.side;
  }
}

TEST_F(PasteBackTest, TheMiddleIsTheGeneratedPicture) {
  const Image generated = CropImage(after_.image, kBox, 400);
  Image frame = before_.image;

  ASSERT_TRUE(PasteBack({.colour_match = 0})
                  .Blend(generated, kBox, FacesOf(after_, before_, kBox), frame)
                  .ok());

  const auto face = [](int x, int y) { return std::hypot(x - 320, y - 240) < 100; };
  EXPECT_EQ(MeanDifference(frame, after_.image, face), 0);
  // Nor is anything left of the head that was there before.
  const auto everywhere = [](int x, int y) { return InBox({320, 240, 330}, x, y); };
  EXPECT_LT(MeanDifference(frame, after_.image, everywhere), 0.3);
  EXPECT_GT(MeanDifference(before_.image, after_.image, everywhere), 5);
}

TEST_F(PasteBackTest, AnArtificialTintIsTakenAway) {
  for (const uint64_t seed : {3, 6, 11, 40, 41, 42}) {
    const PersonRenderer person(MakePerson(seed));
    const Scene before = MakeScene(person, {}, kWidth, kHeight);
    const Scene after = MakeScene(person, Talking(), kWidth, kHeight);
    const Image generated = Tinted(CropImage(after.image, kBox, 400), 1.1f, 0.9f, 6);
    const auto face = [](int x, int y) { return std::hypot(x - 320, y - 240) < 90; };
    const auto error = [&](double colour_match) {
      Image frame = before.image;
      PasteBack paste({.colour_match = colour_match});
      EXPECT_TRUE(paste.Blend(generated, kBox, FacesOf(after, before, kBox), frame).ok());
      return MeanDifference(frame, after.image, face);
    };

    const double tinted = error(0), matched = error(1);

    EXPECT_GT(tinted, 6) << seed;
    EXPECT_LT(matched, 0.4 * tinted) << seed;
    EXPECT_LT(matched, 3.6) << seed;
  }
}

TEST_F(PasteBackTest, UnevenColoursDoNotShowAroundTheHead) {
  // A decoder's errors that change slowly over the picture.
  constexpr CropBox kAll = {320, 240, 480};
  Image generated = CropImage(after_.image, kAll, 480);
  for (int y = 0; y < 480; ++y) {
    for (int x = 0; x < 480; ++x) {
      for (int c = 0; c < 3; ++c) {
        uint8_t& value = generated.row(y)[3 * x + c];
        const double error = 6 * std::sin(x * 0.02 + c) + 6 * std::cos(y * 0.02 + 2 * c);
        value = static_cast<uint8_t>(std::clamp(value + error, 0.0, 255.0));
      }
    }
  }
  const auto error = [&](double colour_match) {
    Image frame = before_.image;
    PasteBack paste({.colour_match = colour_match});
    EXPECT_TRUE(paste.Blend(generated, kAll, FacesOf(after_, before_, kAll), frame).ok());
    // The background beside the head, where the matte is full.
    return MeanDifference(frame, after_.image, [&](int x, int y) {
      return y > 240 && y < 380 && ((x > 140 && x < 170) || (x > 470 && x < 500));
    });
  };
  EXPECT_LT(error(1), 0.4 * error(0));
}

// Mean gradient along the border of the box, over the mean gradient that the unspoilt picture has
// there.
double SeamGradient(const Image& image, const CropBox& box) {
  const int left = static_cast<int>(box.center_x - box.side / 2);
  const int top = static_cast<int>(box.center_y - box.side / 2);
  const int side = static_cast<int>(box.side);
  double sum = 0;
  int64_t count = 0;
  const auto add = [&](int x0, int y0, int x1, int y1) {
    for (int c = 0; c < 3; ++c) {
      sum += std::abs(int{image.row(y0)[3 * x0 + c]} - int{image.row(y1)[3 * x1 + c]});
    }
    count += 3;
  };
  for (int i = 0; i < side; ++i) {
    add(left + i, top - 1, left + i, top);
    add(left + i, top + side - 1, left + i, top + side);
    add(left - 1, top + i, left, top + i);
    add(left + side - 1, top + i, left + side, top + i);
  }
  return sum / static_cast<double>(count);
}

TEST_F(PasteBackTest, LeavesNoSeam) {
  const Image generated = Tinted(CropImage(after_.image, kBox, 400), 1.1f, 0.9f, 6);
  for (const double colour_match : {0.0, 1.0}) {
    Image frame = before_.image;
    PasteBack paste({.colour_match = colour_match});

    ASSERT_TRUE(paste.Blend(generated, kBox, FacesOf(after_, before_, kBox), frame).ok());

    EXPECT_LT(SeamGradient(frame, kBox), 1.1 * SeamGradient(before_.image, kBox) + 0.1);
  }
  // The measure sees a seam where there is one.
  Image pasted = before_.image;
  for (int y = 0; y < 400; ++y) {
    std::copy(generated.row(y), generated.row(y) + 1200, pasted.row(40 + y) + 120 * 3);
  }
  EXPECT_GT(SeamGradient(pasted, kBox), 2 * SeamGradient(before_.image, kBox) + 2);
}

TEST_F(PasteBackTest, HairAndShouldersThatMovedAreNotDoubled) {
  // Long hair, whose ends lie outside what the mesh says of a head.
  const PersonRenderer person(MakePerson(11));
  const Scene before = MakeScene(person, {}, kWidth, kHeight);
  const Scene after = MakeScene(person, Talking(), kWidth, kHeight);
  Image frame = before.image;

  ASSERT_TRUE(
      PasteBack({})
          .Blend(CropImage(after.image, kBox, 400), kBox, FacesOf(after, before, kBox), frame)
          .ok());

  // The lower corners, inside of where the matte fades to the sides.
  int doubled = 0, moved = 0;
  for (int y = 300; y < 390; ++y) {
    for (int x = 170; x < 470; ++x) {
      const auto differs = [&](const Image& image) {
        return std::abs(int{image.row(y)[3 * x]} - int{after.image.row(y)[3 * x]}) > 24;
      };
      doubled += differs(frame) ? 1 : 0;
      moved += differs(before.image) ? 1 : 0;
    }
  }
  EXPECT_GT(moved, 1000);
  EXPECT_LT(doubled, 0.03 * moved);
}

TEST_F(PasteBackTest, ColoursDoNotFlicker) {
  // Every frame's tint is a little different, as a decoder's is.
  const auto flicker = [&](double smoothing) {
    PasteBack paste({.smoothing = smoothing});
    double sum = 0;
    double last = 0;
    for (int i = 0; i < 24; ++i) {
      const float jitter = 0.03f * static_cast<float>((i * 7) % 5 - 2);
      const Image generated =
          Tinted(CropImage(after_.image, kBox, 400), 1.1f + jitter, 1 / (1.1f + jitter), 0);
      Image frame = before_.image;
      EXPECT_TRUE(paste.Blend(generated, kBox, FacesOf(after_, before_, kBox), frame).ok());
      const double red = paste.transfer()->gain[0] * 128 + paste.transfer()->offset[0];
      if (i >= 4) sum += std::abs(red - last);
      last = red;
    }
    return sum / 20;
  };

  EXPECT_LT(flicker(0.9), 0.3 * flicker(0));
}

TEST_F(PasteBackTest, TheMatteDoesNotFlicker) {
  // The same picture again and again, under a mesh that trembles as found landmarks do.
  PasteBack paste({});
  const Image generated = Tinted(CropImage(after_.image, kBox, 400), 1.1f, 0.9f, 6);
  Image last;
  double worst = 0;
  for (int i = 0; i < 16; ++i) {
    PasteBack::Faces faces = FacesOf(after_, before_, kBox);
    for (Point3& p : *faces.generated) {
      p.x += 0.002f * static_cast<float>((i * 5) % 7 - 3);
      p.y += 0.002f * static_cast<float>((i * 3) % 7 - 3);
    }
    Image frame = before_.image;
    ASSERT_TRUE(paste.Blend(generated, kBox, faces, frame).ok());
    if (i > 0) {
      worst = std::max(worst,
                       MeanDifference(frame, last, [](int x, int y) { return InBox(kBox, x, y); }));
    }
    last = frame;
  }
  EXPECT_LT(worst, 0.3);
}

TEST_F(PasteBackTest, FollowsOnlyAsFarAsAsked) {
  const PersonRenderer person(MakePerson(11));
  const Scene before = MakeScene(person, {}, kWidth, kHeight);
  Image generated = CropImage(before.image, kBox, 400);
  // Something at the side, away from the head.
  for (int y = 60; y < 100; ++y) {
    for (int x = 20; x < 50; ++x) std::fill_n(generated.row(y) + 3 * x, 3, uint8_t{255});
  }
  const auto changed = [&](double follow) {
    Image frame = before.image;
    PasteBack paste({.follow = follow});
    EXPECT_TRUE(paste.Blend(generated, kBox, FacesOf(before, before, kBox), frame).ok());
    return MeanDifference(frame, before.image,
                          [](int x, int y) { return x >= 145 && x < 165 && y >= 105 && y < 135; });
  };
  EXPECT_GT(changed(1), 30);
  EXPECT_LT(changed(0), 0.4 * changed(1));
}

TEST_F(PasteBackTest, ResetForgetsTheColoursBefore) {
  const Image generated = CropImage(after_.image, kBox, 400);
  const PasteBack::Faces faces = FacesOf(after_, before_, kBox);
  Image expected = before_.image;
  ASSERT_TRUE(PasteBack({}).Blend(generated, kBox, faces, expected).ok());

  PasteBack paste({});
  Image frame = before_.image;
  ASSERT_TRUE(paste.Blend(Tinted(generated, 1.3f, 0.7f, 0), kBox, faces, frame).ok());
  paste.Reset();
  EXPECT_FALSE(paste.transfer().has_value());
  frame = before_.image;
  ASSERT_TRUE(paste.Blend(generated, kBox, faces, frame).ok());

  EXPECT_EQ(frame.rgb, expected.rgb);
}

TEST_F(PasteBackTest, WithoutFacesTheWholeSquareIsPutBack) {
  const Image generated{64, 64, std::vector<uint8_t>(64 * 64 * 3, 90)};
  Image frame = before_.image;

  ASSERT_TRUE(PasteBack({.colour_match = 0}).Blend(generated, kBox, {}, frame).ok());

  for (const int x : {170, 320, 470}) EXPECT_EQ(frame.row(100)[3 * x], 90);
}

TEST_F(PasteBackTest, WithoutFacesColoursAreMatchedAtTheSides) {
  const Image tinted = Tinted(CropImage(before_.image, kBox, 400), 1.1f, 0.9f, 6);
  const auto error = [&](double colour_match) {
    Image frame = before_.image;
    PasteBack paste({.colour_match = colour_match});
    EXPECT_TRUE(paste.Blend(tinted, kBox, {}, frame).ok());
    return MeanDifference(frame, before_.image, [](int x, int y) { return InBox(kBox, x, y); });
  };
  EXPECT_LT(error(1), 0.3 * error(0));
}

TEST_F(PasteBackTest, TheMatteTellsWhatHasChanged) {
  for (const CropBox box : {kBox, CropBox{300.3, 211.8, 333.4}, CropBox{600, 20, 300.5}}) {
    for (const MatteArea area : {MatteArea::kFace, MatteArea::kHead, MatteArea::kCrop}) {
      const Image generated = CropImage(Tinted(after_.image, 1.2f, 0.8f, 9), box, 256);
      Image plain = before_.image, frame = before_.image;
      std::vector<uint8_t> matte;
      ASSERT_TRUE(PasteBack({.area = area})
                      .Blend(generated, box, FacesOf(after_, before_, box), plain)
                      .ok());

      ASSERT_TRUE(PasteBack({.area = area})
                      .Blend(generated, box, FacesOf(after_, before_, box), frame, &matte)
                      .ok());

      EXPECT_EQ(frame.rgb, plain.rgb) << "asking for it changes nothing";
      ASSERT_EQ(matte.size(), size_t{kWidth} * kHeight);
      int64_t num_full = 0;
      for (int y = 0; y < kHeight; ++y) {
        for (int x = 0; x < kWidth; ++x) {
          const uint8_t level = matte[static_cast<size_t>(y) * kWidth + x];
          if (level == 255) ++num_full;
          if (!InBox(box, x, y)) {
            ASSERT_EQ(level, 0) << x << ", " << y;
          }
          if (level == 0) {
            ASSERT_TRUE(std::equal(frame.row(y) + 3 * x, frame.row(y) + 3 * x + 3,
                                   before_.image.row(y) + 3 * x))
                << x << ", " << y;
          }
        }
      }
      // The last box lies beside the face.
      if (area == MatteArea::kCrop || box.center_x < 400) {
        EXPECT_GT(num_full, kWidth * kHeight / 100);
      }
    }
  }
  // The face's middle is the generated one's.
  std::vector<uint8_t> matte;
  Image frame = before_.image;
  ASSERT_TRUE(PasteBack({})
                  .Blend(CropImage(after_.image, kBox, 256), kBox, FacesOf(after_, before_, kBox),
                         frame, &matte)
                  .ok());
  EXPECT_EQ(matte[size_t{kHeight / 2} * kWidth + kWidth / 2], 255);
}

// Whether a pixel's centre lies in a turned square, grown by `margin` pixels.
bool InPlacement(const Placement& place, double margin, int x, int y) {
  const double dx = x + 0.5 - place.box.center_x, dy = y + 0.5 - place.box.center_y;
  const double along = dx * std::cos(place.turn) + dy * std::sin(place.turn);
  const double across = dy * std::cos(place.turn) - dx * std::sin(place.turn);
  return std::max(std::abs(along), std::abs(across)) <= place.box.side / 2 + margin;
}

TEST_F(PasteBackTest, NothingOutsideATurnedSquareChanges) {
  const Image grey{200, 200, std::vector<uint8_t>(200 * 200 * 3, 200)};
  for (const double turn : {0.3, -0.7, 2.0}) {
    for (const CropBox box : {CropBox{320, 240, 300}, CropBox{50.5, 30.2, 240}}) {
      for (const MatteArea area : {MatteArea::kHead, MatteArea::kCrop}) {
        const Placement place = {box, turn};
        Image frame = before_.image;
        std::vector<uint8_t> matte;
        ASSERT_TRUE(PasteBack({.area = area, .colour_match = 0})
                        .BlendTurned(grey, place, {}, frame, &matte)
                        .ok());
        int num_changed = 0;
        for (int y = 0; y < kHeight; ++y) {
          for (int x = 0; x < kWidth; ++x) {
            const bool same = std::equal(frame.row(y) + 3 * x, frame.row(y) + 3 * x + 3,
                                         before_.image.row(y) + 3 * x);
            if (!same) ++num_changed;
            if (!InPlacement(place, 0, x, y)) {
              ASSERT_TRUE(same) << x << ", " << y << " turned by " << turn;
              ASSERT_EQ(matte[static_cast<size_t>(y) * kWidth + x], 0);
            }
          }
        }
        EXPECT_GT(num_changed, 10'000);
      }
    }
  }
}

TEST_F(PasteBackTest, ATurnedSquareGoesWhereItWasTakenFrom) {
  // The picture turned about its middle, and back into the unturned one: the head is the same.
  constexpr double kTurn = 0.25;
  Image turned{400, 400, std::vector<uint8_t>(400 * 400 * 3)};
  const auto at = [&](double x, double y) {
    const int column = std::clamp(static_cast<int>(std::floor(x)), 0, kWidth - 1);
    const int row = std::clamp(static_cast<int>(std::floor(y)), 0, kHeight - 1);
    return before_.image.row(row) + 3 * column;
  };
  for (int y = 0; y < 400; ++y) {
    for (int x = 0; x < 400; ++x) {
      const double dx = x + 0.5 - 200, dy = y + 0.5 - 200;
      std::copy_n(at(kBox.center_x + dx * std::cos(kTurn) - dy * std::sin(kTurn),
                     kBox.center_y + dx * std::sin(kTurn) + dy * std::cos(kTurn)),
                  3, turned.row(y) + 3 * x);
    }
  }
  Image frame = before_.image;

  ASSERT_TRUE(PasteBack({}).BlendTurned(turned, {.box = kBox, .turn = kTurn}, {}, frame).ok());

  // Taken from the nearest pixel, so not the same bytes.
  EXPECT_LT(MeanDifference(frame, before_.image, [](int, int) { return true; }), 1.5);
  Image wrong = before_.image;
  ASSERT_TRUE(PasteBack({}).BlendTurned(turned, {.box = kBox, .turn = -kTurn}, {}, wrong).ok());
  EXPECT_GT(MeanDifference(wrong, before_.image, [](int, int) { return true; }), 5);
}

TEST_F(PasteBackTest, MattesOfSeveralFacesAddUp) {
  constexpr CropBox kLeft = {160, 240, 240}, kRight = {420, 240, 240};
  const Image grey{64, 64, std::vector<uint8_t>(64 * 64 * 3, 128)};
  std::vector<uint8_t> both, left, right;
  Image frame = before_.image;
  ASSERT_TRUE(PasteBack({}).Blend(grey, kLeft, {}, frame, &left).ok());
  ASSERT_TRUE(PasteBack({}).Blend(grey, kRight, {}, frame, &right).ok());
  ASSERT_TRUE(PasteBack({}).Blend(grey, kLeft, {}, frame, &both).ok());
  ASSERT_TRUE(PasteBack({}).Blend(grey, kRight, {}, frame, &both).ok());
  for (size_t i = 0; i < both.size(); ++i) ASSERT_EQ(both[i], std::max(left[i], right[i]));

  both.resize(10);
  EXPECT_EQ(PasteBack({}).Blend(grey, kLeft, {}, frame, &both).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(PasteBackTest, ABoxOutsideThePictureChangesNothing) {
  const Image generated{64, 64, std::vector<uint8_t>(64 * 64 * 3, 90)};
  for (const CropBox box :
       {CropBox{-500, 100, 200}, CropBox{1e9, 1e9, 300}, CropBox{320, 240, 1}}) {
    Image frame = before_.image;
    EXPECT_TRUE(PasteBack({}).Blend(generated, box, {}, frame).ok());
    EXPECT_EQ(frame.rgb, before_.image.rgb);
  }
}

TEST_F(PasteBackTest, TakesPicturesOfAnySizeUpTo4K) {
  const Image generated{512, 512, std::vector<uint8_t>(512 * 512 * 3, 90)};
  constexpr std::array<std::pair<int, int>, 5> kSizes = {
      {{3840, 2160}, {2, 2}, {1, 1}, {3, 2000}, {17, 9}}};
  for (const auto& [width, height] : kSizes) {
    Image frame{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3, 128)};
    const CropBox box = {width / 2.0, height / 2.0, 0.9 * std::min(width, height)};
    EXPECT_TRUE(PasteBack({}).Blend(generated, box, {}, frame).ok()) << width << "x" << height;
  }
}

TEST_F(PasteBackTest, BadPicturesAreErrors) {
  const Image generated{64, 64, std::vector<uint8_t>(64 * 64 * 3, 90)};
  Image frame = before_.image, none;
  PasteBack paste({});
  EXPECT_EQ(paste.Blend(generated, kBox, {}, none).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(paste.Blend(none, kBox, {}, frame).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(paste.Blend({64, 32, std::vector<uint8_t>(64 * 32 * 3)}, kBox, {}, frame).code(),
            absl::StatusCode::kInvalidArgument);
  for (const double side : {0.0, -3.0, std::numeric_limits<double>::quiet_NaN(),
                            std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(paste.Blend(generated, {320, 240, side}, {}, frame).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(frame.rgb, before_.image.rgb);
}

TEST(PasteBackOptionsTest, NamesFieldValueAndRange) {
  EXPECT_TRUE(CheckPasteBackOptions({}).ok());
  const auto message = [](const PasteBackOptions& options) {
    const absl::Status status = CheckPasteBackOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message({.border = 0.5}), "border must be 0.01..0.25, is 0.5");
  EXPECT_EQ(message({.follow = 1.5}), "follow must be 0..1, is 1.5");
  EXPECT_EQ(message({.colour_match = -1}), "colour_match must be 0..1, is -1");
  EXPECT_EQ(message({.smoothing = 1}), "smoothing must be 0..0.99, is 1");
  EXPECT_EQ(message({.border = std::numeric_limits<double>::quiet_NaN()}),
            "border must be 0.01..0.25, is nan");
  EXPECT_EQ(message({.area = static_cast<MatteArea>(7)}), "area must be face, head or crop, is 7");
}

}  // namespace
}  // namespace reenact
