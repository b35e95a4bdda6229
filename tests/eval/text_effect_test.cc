#include "eval/text_effect.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace reenact {
namespace {

Image Pixels(std::vector<uint8_t> rgb) { return {static_cast<int>(rgb.size() / 3), 1, rgb}; }

TEST(PictureChangeTest, IsTheShareOfTheTrueChangeAtItsPlace) {
  const Image before = Pixels({10, 10, 10, 50, 50, 50}), after = Pixels({110, 10, 10, 50, 50, 50}),
              half = Pixels({60, 10, 10, 50, 50, 50}),
              elsewhere = Pixels({10, 10, 10, 50, 150, 50});
  const auto change = [&](const Image& generated) {
    PictureChange shown;
    shown.Add(before, generated, before, after);
    return shown;
  };

  EXPECT_DOUBLE_EQ(change(after).share(), 1);
  EXPECT_DOUBLE_EQ(change(after).cosine(), 1);
  EXPECT_DOUBLE_EQ(change(half).share(), 0.5);
  EXPECT_DOUBLE_EQ(change(half).cosine(), 1);
  EXPECT_DOUBLE_EQ(change(elsewhere).share(), 0);
  EXPECT_DOUBLE_EQ(change(before).cosine(), 0);
  PictureChange both = change(after);
  both.Add(before, elsewhere, before, after);
  EXPECT_DOUBLE_EQ(both.share(), 0.5);
  EXPECT_NEAR(both.cosine(), 0.5, 1e-9);
}

TEST(LooksChangesTest, ChangeOneThingThatTextsName) {
  const HeldOutOptions options{.first_seed = 10'000'000, .num_people = 40};
  for (int i = 0; i < options.num_people; ++i) {
    const Person plain = PlainPerson(options, i);
    EXPECT_EQ(Caption(plain).find("glasses"), std::string::npos);
    for (const LooksChange& change : LooksChanges()) {
      const Person changed = change.apply(plain, i);
      const EditTexts words = DescribeEdit(plain, changed, 1);
      EXPECT_NE(words.from, words.to) << change.name;
      EXPECT_NE(Caption(plain), Caption(changed)) << change.name;
      EXPECT_EQ(changed.glasses != plain.glasses, change.name == std::string("glasses"));
      EXPECT_EQ(changed.hair.name != plain.hair.name, change.name == std::string("hair"));
      EXPECT_EQ(changed.clothes.name != plain.clothes.name, change.name == std::string("shirt"));
      EXPECT_EQ(changed.background.name != plain.background.name,
                change.name == std::string("background"));
    }
  }
}

TEST(HeldOutClipTest, ShowsThePersonItIsGiven) {
  const HeldOutOptions options{.first_seed = 10'000'000, .num_frames = 2, .size = 64};
  const auto usual = DrawHeldOutClip(options, 0, /*cross=*/false);
  const auto same = DrawHeldOutClipOf(usual->source, options, 0);
  Person other = usual->source;
  other.background.color = {255, 0, 0};
  const auto changed = DrawHeldOutClipOf(other, options, 0);

  ASSERT_TRUE(usual.ok() && same.ok() && changed.ok());
  EXPECT_EQ(same->portrait.rgb, usual->portrait.rgb);
  EXPECT_EQ(same->driving[1].rgb, usual->driving[1].rgb);
  EXPECT_NE(changed->portrait.rgb, usual->portrait.rgb);
  EXPECT_NE(changed->driving[1].rgb, usual->driving[1].rgb);
  EXPECT_EQ(changed->driving[1].rgb, changed->truth[1].rgb);
}

}  // namespace
}  // namespace reenact
