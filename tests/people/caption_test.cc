#include <gtest/gtest.h>

#include <set>
#include <string>

#include "training/people/palettes.h"
#include "training/people/people.h"

namespace reenact {
namespace {

constexpr uint64_t kPhrasings = 8;

TEST(CaptionTest, NamesWhatIsSeenInEveryPhrasing) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Person person = MakePerson(seed);
    for (uint64_t phrasing = 0; phrasing < kPhrasings; ++phrasing) {
      const std::string caption = Caption(person, phrasing);
      SCOPED_TRACE(caption);
      const auto has = [&](const std::string& text) {
        return caption.find(text) != std::string::npos;
      };
      EXPECT_EQ(has("woman"), !person.man);
      EXPECT_TRUE(
          has(std::string(kSkinColors[static_cast<size_t>(person.skin.name)].name) + " skin"));
      EXPECT_TRUE(
          has(std::string(kEyeColors[static_cast<size_t>(person.eyes.name)].name) + " eyes"));
      EXPECT_TRUE(has(kClothColors[static_cast<size_t>(person.clothes.name)].name));
      EXPECT_TRUE(
          has(std::string(kBackgroundColors[static_cast<size_t>(person.background.name)].name) +
              " background"));
      EXPECT_EQ(has("glasses"), person.glasses != Glasses::kNone);
      EXPECT_EQ(has("beanie") || has(" cap"), person.hat != Hat::kNone);
      EXPECT_EQ(has("beard"), person.beard == Beard::kFull);
      EXPECT_EQ(has("stubble"), person.beard == Beard::kStubble);
      EXPECT_EQ(has("moustache"), person.moustache && person.beard != Beard::kFull);
      EXPECT_EQ(has("fringe") || has("bangs"), person.fringe_length > 1.5f);
      EXPECT_EQ(has("striped"), person.striped_clothes);
      EXPECT_EQ(has("freckles"), person.freckles);
      if (person.hair_style == HairStyle::kBald) {
        EXPECT_EQ(has("bald"), person.hat == Hat::kNone);
      } else {
        EXPECT_TRUE(has(kHairColors[static_cast<size_t>(person.hair.name)].name));
      }
    }
  }
}

TEST(CaptionTest, DetailsComeOnTopInEveryPhrasing) {
  Person person = MakePerson(3, Variety::kRich);
  person.shape.face_width = 0.9f;
  person.brow_thickness = 1.1f;
  person.lipstick = 0.9f;
  person.lipstick_color = {188, 50, 66};
  person.light_direction = {-0.6f, 0, 0.8f};
  person.extra_lights = {{{0.8f, 0, -0.6f}, 2, 0.5f}};
  person.lens = {.distance = 40, .exposure = 0.8f, .warmth = 0.6f, .vignette = 0};
  person.striped_clothes = false;
  person.pattern = ClothPattern::kDots;
  for (uint64_t phrasing = 0; phrasing < kPhrasings; ++phrasing) {
    const std::string caption = Caption(person, phrasing, CaptionDetail::kDetailed);
    SCOPED_TRACE(caption);
    for (const char* words : {"a wide face", "eyebrows", "red lipstick", "from the left",
                              "a blue rim light", "a dim picture", "warm colours", "dotted"}) {
      EXPECT_NE(caption.find(words), std::string::npos) << words;
    }
    EXPECT_TRUE(caption.find("seen from close") != std::string::npos ||
                caption.find("a wide lens") != std::string::npos);
    EXPECT_EQ(Caption(person, phrasing).find("lipstick"), std::string::npos);
  }
}

TEST(CaptionTest, PartialOnesNameAFewThingsThatAreTrue) {
  std::set<std::string> captions;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Person person = MakePerson(seed);
    const std::string full = Caption(person) + Caption(person, 4);  // both choices of words
    for (uint64_t k = 0; k < 20; ++k) {
      const std::string caption = Caption(person, 1000 * seed + k, CaptionDetail::kPartial);
      SCOPED_TRACE(caption);
      EXPECT_EQ(caption, Caption(person, 1000 * seed + k, CaptionDetail::kPartial));
      captions.insert(caption);
      const auto has = [&](const std::string& text) {
        return caption.find(text) != std::string::npos;
      };
      EXPECT_FALSE(caption.empty());
      EXPECT_LT(caption.size(), full.size());
      if (has("no glasses")) {
        EXPECT_EQ(person.glasses, Glasses::kNone);
      }
      if (has("no hat")) {
        EXPECT_EQ(person.hat, Hat::kNone);
      }
      if (has("no beard")) {
        EXPECT_TRUE(person.man && person.beard == Beard::kNone);
      }
      for (const NamedColor& color : kClothColors) {
        if (has(color.name + std::string(" shirt"))) {
          EXPECT_NE(full.find(color.name + std::string(" shirt")), std::string::npos);
        }
      }
      for (const NamedColor& color : kHairColors) {
        const std::string hair = color.name + std::string(" hair");
        if (has(hair)) {
          EXPECT_NE(full.find(hair), std::string::npos) << full;
        }
      }
      if (has("woman")) {
        EXPECT_FALSE(person.man);
      }
    }
  }
  EXPECT_GT(captions.size(), 1500u) << "of 4,000";
  for (const char* wanted : {"no glasses", "no hat", "no beard", "round glasses"}) {
    EXPECT_TRUE(captions.contains(wanted)) << wanted;
  }
}

TEST(CaptionTest, PhrasingsDiffer) {
  Person person = MakePerson(3);
  person.hair_style = HairStyle::kBob;
  std::set<std::string> captions;
  for (uint64_t phrasing = 0; phrasing < kPhrasings; ++phrasing)
    captions.insert(Caption(person, phrasing));
  EXPECT_EQ(captions.size(), kPhrasings);
  EXPECT_EQ(Caption(person, kPhrasings), Caption(person, 0));
}

TEST(CaptionTest, ReadsLikeEnglish) {
  Person person;
  person.man = true;
  person.age = AgeGroup::kOld;
  person.skin.name = 1;
  person.hair.name = kGreyHair;
  person.eyes.name = 2;
  person.beard = Beard::kFull;
  person.moustache = true;
  person.glasses = Glasses::kRound;
  person.clothes.name = 7;
  person.background.name = 3;

  EXPECT_EQ(Caption(person, 0),
            "an old man with fair skin, short grey hair, blue eyes, a beard, round glasses, an "
            "orange shirt, "
            "green background");
  EXPECT_EQ(Caption(person, 1),
            "portrait of an old man with fair skin, short grey hair, blue eyes and a beard, "
            "wearing round glasses and "
            "an orange shirt, in front of a green background");
  EXPECT_EQ(Caption(person, 7),
            "an elderly man wearing round glasses and an orange top against a green background; he "
            "has fair skin, "
            "short grey hair, blue eyes and a full beard");
}

}  // namespace
}  // namespace reenact
