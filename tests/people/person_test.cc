#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>

#include "training/people/palettes.h"
#include "training/people/people.h"
#include "training/people/random.h"

namespace reenact {
namespace {

TEST(RandomTest, IsTheSameEverywhere) {
  // The first outputs of SplitMix64 seeded with our mixture of (seed, stream) = (1, 0), from a
  // calculation of its own.
  const auto scramble = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  const uint64_t state = scramble(1 + 0x9e3779b97f4a7c15) ^ scramble(~uint64_t{0});

  Random random(1);

  EXPECT_EQ(random.Next(), scramble(state + 0x9e3779b97f4a7c15));
  EXPECT_EQ(random.Next(), scramble(state + 2 * 0x9e3779b97f4a7c15));
}

TEST(RandomTest, DistributionsHaveTheirMoments) {
  Random random(7);
  double sum = 0, squares = 0, uniform = 0;
  std::map<int, int> picks;
  constexpr int kCount = 20000;
  for (int i = 0; i < kCount; ++i) {
    const float x = random.Normal();
    sum += x;
    squares += x * x;
    uniform += random.Uniform(2, 4);
    ++picks[random.Pick({1, 0, 3})];
  }
  EXPECT_NEAR(sum / kCount, 0, 0.03);
  EXPECT_NEAR(squares / kCount, 1, 0.04);
  EXPECT_NEAR(uniform / kCount, 3, 0.02);
  EXPECT_EQ(picks[1], 0);
  EXPECT_NEAR(picks[2] / double{kCount}, 0.75, 0.02);
}

TEST(PersonTest, SeedsKeepTheirMeaning) {
  // Training data is named by seeds. Also catches numbers drawn in an order that is the compiler's.
  EXPECT_EQ(Caption(MakePerson(42)),
            "a young man with fair skin, short brown hair, brown eyes, a beard, a yellow shirt, "
            "pink background");
  const FaceState state = MakeClip(42, 51, 25).back();
  EXPECT_NEAR(state.pose.yaw, -29.0410f, 1e-3f);
  EXPECT_NEAR(state.pose.pitch, -6.0431f, 1e-3f);
  EXPECT_NEAR(state.expression.jaw_drop, 0.1261f, 1e-3f);
  EXPECT_NEAR(state.expression.smile, -0.4116f, 1e-3f);
  const Image image = PersonRenderer(MakePerson(42)).Draw(state, 64).image;
  EXPECT_NEAR(std::accumulate(image.rgb.begin(), image.rgb.end(), 0.0) /
                  static_cast<double>(image.rgb.size()),
              159.16, 0.1);
}

TEST(PersonTest, VarietyLeavesTheRestOfAPersonAsItIs) {
  int patterns = 0, lights = 0;
  constexpr int kCount = 300;
  for (uint64_t seed = 0; seed < kCount; ++seed) {
    const Person plain = MakePerson(seed), rich = MakePerson(seed, Variety::kRich);
    if (!rich.striped_clothes && rich.pattern == ClothPattern::kNone) {
      EXPECT_EQ(Caption(plain), Caption(rich)) << seed;
    }
    EXPECT_TRUE(plain.extra_lights.empty());
    EXPECT_EQ(plain.lens.distance, 60);
    EXPECT_EQ(plain.shape.nose_length, rich.shape.nose_length);
    EXPECT_TRUE(rich.pattern == ClothPattern::kNone || !rich.striped_clothes);
    EXPECT_TRUE(rich.lens.distance >= 38 && rich.lens.distance <= 110);
    EXPECT_TRUE(rich.lens.exposure >= 0.8f && rich.lens.exposure <= 1.14f);
    patterns += rich.pattern != ClothPattern::kNone;
    lights += !rich.extra_lights.empty();
  }
  EXPECT_NEAR(patterns, 0.24 * kCount, 0.09 * kCount);
  EXPECT_NEAR(lights, 0.65 * kCount, 0.1 * kCount);
}

TEST(PersonTest, ChangedLooksLeaveTheFaceAndFitTogether) {
  std::map<std::string, int> changes;
  int wearers = 0, without = 0;
  constexpr int kCount = 1000;
  for (uint64_t seed = 0; seed < kCount; ++seed) {
    const Person person = MakePerson(seed), changed = ChangeLooks(person, seed + 7);
    EXPECT_EQ(Caption(changed), Caption(ChangeLooks(person, seed + 7)));
    EXPECT_EQ(changed.man, person.man);
    EXPECT_EQ(changed.age, person.age);
    EXPECT_EQ(changed.skin.color.g, person.skin.color.g);
    EXPECT_EQ(changed.eyes.name, person.eyes.name);
    EXPECT_EQ(changed.shape.nose_length, person.shape.nose_length);
    EXPECT_EQ(changed.light_direction, person.light_direction);
    EXPECT_TRUE(changed.hat == Hat::kNone || changed.fringe_length == 0) << seed;
    EXPECT_TRUE(changed.man || (changed.beard == Beard::kNone && !changed.moustache)) << seed;
    EXPECT_TRUE(changed.beard != Beard::kFull || changed.moustache) << seed;
    changes["hair"] += changed.hair.color.g != person.hair.color.g;
    if (changed.glasses != person.glasses) {
      ++changes["glasses"];
      wearers += person.glasses != Glasses::kNone;
      without += changed.glasses == Glasses::kNone;
    }
    changes["beard"] += changed.beard != person.beard;
    changes["clothes"] += changed.clothes.color.g != person.clothes.color.g;
    changes["background"] += changed.background.color.g != person.background.color.g;
  }
  for (const auto& [what, count] : changes) {
    const double share = what == "glasses" ? 0.51 : what == "beard" ? 0.15 : 0.31;
    EXPECT_NEAR(count, kCount * share, 0.09 * kCount) << what;
  }
  EXPECT_NEAR(without, wearers * 2 / 3, 0.1 * wearers);
}

TEST(PersonTest, AnEditNamesWhatDiffers) {
  Person bare = MakePerson(3), worn = bare;
  bare.glasses = Glasses::kNone;
  worn.glasses = Glasses::kRound;
  int whole = 0, sentences = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const EditTexts edit = DescribeEdit(bare, worn, seed);
    EXPECT_EQ(edit.from, DescribeEdit(bare, worn, seed).from);
    EXPECT_NE(edit.to.find("round glasses"), std::string::npos) << edit.to;
    if (edit.from == "no glasses") {
      EXPECT_EQ(edit.to, "round glasses");
    } else if (edit.from.ends_with(" with no glasses")) {
      ++sentences;
    } else {
      ++whole;
      EXPECT_EQ(edit.from.find("glasses"), std::string::npos) << edit.from;
    }
  }
  EXPECT_NEAR(whole, 20, 12);
  EXPECT_NEAR(sentences, 24, 13);
}

TEST(PersonTest, AnEditOfLooksSaysTheSameKindsOfThingsInTheSameOrder) {
  int several = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const Person person = MakePerson(seed), changed = ChangeLooks(person, seed + 7);
    const EditTexts edit = DescribeEdit(changed, person, seed);
    EXPECT_FALSE(edit.from.empty() || edit.to.empty()) << seed;
    if (edit.from.find(',') == std::string::npos || edit.from.size() > 80) continue;
    ++several;
    for (const char* kind : {"background", "glasses"}) {
      EXPECT_EQ(edit.from.find(kind) == std::string::npos, edit.to.find(kind) == std::string::npos)
          << edit.from << " => " << edit.to;
    }
  }
  EXPECT_GT(several, 30);
}

TEST(PersonTest, AnEditOfNothingIsOneCaptionTwice) {
  const Person person = MakePerson(3);

  const EditTexts edit = DescribeEdit(person, person, 5);

  EXPECT_EQ(edit.from, edit.to);
  EXPECT_FALSE(edit.from.empty());
}

TEST(PersonTest, LooksComeInAllKindsAndFitTogether) {
  std::set<HairStyle> styles;
  std::set<int> skins;
  int men = 0, hats = 0, glasses = 0;
  constexpr int kCount = 1000;
  for (uint64_t seed = 0; seed < kCount; ++seed) {
    const Person person = MakePerson(seed);
    styles.insert(person.hair_style);
    skins.insert(person.skin.name);
    men += person.man;
    hats += person.hat != Hat::kNone;
    glasses += person.glasses != Glasses::kNone;
    EXPECT_TRUE(person.man || (person.beard == Beard::kNone && !person.moustache)) << seed;
    EXPECT_TRUE(person.beard != Beard::kFull || person.moustache) << seed;
    EXPECT_TRUE(person.hat == Hat::kNone || person.fringe_length == 0) << seed;
    for (float number :
         {person.shape.face_width, person.shape.eye_size, person.shape.lip_thickness}) {
      EXPECT_LE(std::abs(number), 1 + 1e-6f) << seed;
    }
    for (const Paint* paint : {&person.skin, &person.hair, &person.clothes, &person.background}) {
      EXPECT_LE(std::max({paint->color.r, paint->color.g, paint->color.b}), 255) << seed;
    }
  }
  EXPECT_EQ(styles.size(), 7u);
  EXPECT_EQ(skins.size(), kSkinColors.size());
  EXPECT_NEAR(men, kCount / 2, 60);
  EXPECT_NEAR(hats, 100, 50);
  EXPECT_NEAR(glasses, 450, 60);
}

}  // namespace
}  // namespace reenact
