#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "training/people/palettes.h"
#include "training/people/people.h"
#include "training/people/random.h"

namespace reenact {
namespace {

using Words = std::vector<std::string>;

constexpr uint64_t kPartialCaptionStream = 31, kEditStream = 32;

template <size_t kSize>
std::string Name(const std::array<NamedColor, kSize>& palette, const Paint& paint) {
  return palette[static_cast<size_t>(paint.name)].name;
}

std::string WithArticle(const std::string& noun) {
  const bool vowel = std::string("aeiou").find(noun.front()) != std::string::npos;
  return (vowel ? "an " : "a ") + noun;
}

// "x", "x and y", "x, y and z"
std::string Enumerate(const Words& items) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " and " : ", ";
    text += items[i];
  }
  return text;
}

std::string Join(const Words& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

std::string AgeWord(const Person& person, bool second_choice) {
  switch (person.age) {
    case AgeGroup::kYoung:
      return "young";
    case AgeGroup::kMiddleAged:
      return "middle-aged";
    case AgeGroup::kOld:
      return second_choice ? "elderly" : "old";
  }
  return "";
}

// Empty if nothing can be seen of it.
std::string Hair(const Person& person, bool second_choice) {
  const std::string color = Name(kHairColors, person.hair);
  switch (person.hair_style) {
    case HairStyle::kBald:
      return person.hat == Hat::kNone ? "a bald head" : "";
    case HairStyle::kBuzzCut:
      return (second_choice ? "very short " : "buzz-cut ") + color + " hair";
    case HairStyle::kShort:
      return "short " + color + " hair";
    case HairStyle::kAfro:
      return second_choice ? WithArticle(color + " afro") : "curly " + color + " hair";
    case HairStyle::kBob:
      return second_choice ? WithArticle(color + " bob") : "chin-length " + color + " hair";
    case HairStyle::kLong:
      return "long " + color + " hair";
    case HairStyle::kBun:
      return second_choice ? color + " hair in a bun" : "tied-up " + color + " hair";
  }
  return "";
}

Words FacialHair(const Person& person, bool second_choice) {
  Words hair;
  if (person.beard == Beard::kFull) hair.push_back(second_choice ? "a full beard" : "a beard");
  if (person.beard == Beard::kStubble) hair.push_back("stubble");
  if (person.moustache && person.beard != Beard::kFull) hair.push_back("a moustache");
  return hair;
}

// What grows and shines on the head.
Words Features(const Person& person, bool second_choice) {
  Words features;
  if (std::string hair = Hair(person, second_choice); !hair.empty())
    features.push_back(std::move(hair));
  if (person.fringe_length > 1.5f) features.push_back(second_choice ? "bangs" : "a fringe");
  features.push_back(Name(kEyeColors, person.eyes) + " eyes");
  for (std::string& one : FacialHair(person, second_choice)) features.push_back(std::move(one));
  if (person.freckles) features.push_back("freckles");
  return features;
}

// Empty if there are none.
std::string GlassesWord(const Person& person, bool second_choice) {
  switch (person.glasses) {
    case Glasses::kNone:
      return "";
    case Glasses::kRound:
      return "round glasses";
    case Glasses::kSquare:
      return "square glasses";
    case Glasses::kThin:
      return second_choice ? "thin-rimmed glasses" : "thin glasses";
  }
  return "";
}

// Empty if there is none.
std::string HatWord(const Person& person) {
  const std::string color = Name(kClothColors, person.hat_paint);
  if (person.hat == Hat::kBeanie) return WithArticle(color + " beanie");
  if (person.hat == Hat::kCap) return WithArticle(color + " cap");
  return "";
}

std::string Shirt(const Person& person, bool second_choice) {
  const char* pattern = person.striped_clothes                    ? "striped "
                        : person.pattern == ClothPattern::kChecks ? "checked "
                        : person.pattern == ClothPattern::kDots   ? "dotted "
                                                                  : "";
  return WithArticle(pattern + Name(kClothColors, person.clothes) +
                     (second_choice ? " top" : " shirt"));
}

std::string BackgroundWord(const Person& person) {
  return Name(kBackgroundColors, person.background) + " background";
}

// What is worn.
Words Clothes(const Person& person, bool second_choice) {
  Words clothes;
  for (std::string one : {GlassesWord(person, second_choice), HatWord(person)}) {
    if (!one.empty()) clothes.push_back(std::move(one));
  }
  clothes.push_back(Shirt(person, second_choice));
  return clothes;
}

// What is left out of the shorter captions: build of the face, brows, make-up.
Words FaceDetails(const Person& person, bool second_choice) {
  Words details;
  const FaceShape& shape = person.shape;
  if (shape.face_width > 0.5f) details.push_back("a wide face");
  if (shape.face_width < -0.5f) details.push_back("a narrow face");
  if (shape.jaw_width > 0.7f) details.push_back(second_choice ? "a broad jaw" : "a strong jaw");
  if (shape.nose_length > 0.6f) details.push_back("a long nose");
  if (shape.nose_length < -0.6f) details.push_back("a short nose");
  if (shape.lip_thickness > 0.6f) details.push_back("full lips");
  if (shape.lip_thickness < -0.6f) details.push_back("thin lips");
  if (person.brow_thickness > 1.02f) {
    details.push_back(second_choice ? "bushy eyebrows" : "thick eyebrows");
  }
  if (person.brow_thickness < 0.58f) details.push_back("thin eyebrows");
  if (person.make_up > 0.6f) details.push_back(second_choice ? "eye shadow" : "eye make-up");
  if (person.lipstick > 0.6f) {
    details.push_back(person.lipstick_color.r < 200 ? "red lipstick" : "pink lipstick");
  }
  if (person.blush > 0.42f) details.push_back("rosy cheeks");
  return details;
}

// Backdrop, light and camera.
Words SceneDetails(const Person& person, bool second_choice) {
  Words details;
  if (person.backdrop == Backdrop::kSoftLights) {
    details.push_back(second_choice ? "blurred lights behind" : "soft lights behind");
  }
  const float x = person.light_direction[0];
  if (std::abs(x) > 0.35f) {
    details.push_back(std::string(second_choice ? "light from the " : "lit from the ") +
                      (x < 0 ? "left" : "right"));
  }
  if (person.light_contrast > 0.64f)
    details.push_back(second_choice ? "harsh light" : "hard light");
  if (person.light_contrast < 0.51f) details.push_back("soft light");
  for (const ExtraLight& light : person.extra_lights) {
    const std::string color = kLightColors[static_cast<size_t>(light.color)].name;
    details.push_back("a " + color + (light.direction[2] < 0 ? " rim light" : " fill light"));
  }
  if (person.lens.distance < 50)
    details.push_back(second_choice ? "a wide lens" : "seen from close");
  if (person.lens.exposure < 0.88f) details.push_back("a dim picture");
  if (person.lens.exposure > 1.06f) details.push_back("a bright picture");
  if (person.lens.warmth > 0.4f) details.push_back("warm colours");
  if (person.lens.warmth < -0.4f) details.push_back("cold colours");
  return details;
}

// What is not there and could be.
Words Missing(const Person& person) {
  Words missing;
  if (person.glasses == Glasses::kNone) missing.push_back("no glasses");
  if (person.hat == Hat::kNone) missing.push_back("no hat");
  if (person.man && person.beard == Beard::kNone) missing.push_back("no beard");
  return missing;
}

// One to four things in any order, with or without whose they are.
std::string PartialCaption(const Person& person, uint64_t seed) {
  Random random(seed, kPartialCaptionStream);
  const bool second_choice = random.Chance(0.5f);
  // Things asked for most come into the draw twice: clothes (glasses and hats among them) and hair.
  Words things = Clothes(person, second_choice);
  things.push_back(things.back());
  const Words features = Features(person, second_choice);
  things.push_back(features.front());
  things.insert(things.end(), features.begin(), features.end());
  things.push_back(Name(kSkinColors, person.skin) + " skin");
  things.push_back(WithArticle(BackgroundWord(person)));
  const Words missing = Missing(person);
  things.insert(things.end(), missing.begin(), missing.end());

  Words chosen;
  for (int left = random.Pick({4, 3, 2, 1}) + 1; left > 0; --left) {
    const auto at = static_cast<size_t>(random.Index(static_cast<int>(things.size())));
    if (std::find(chosen.begin(), chosen.end(), things[at]) == chosen.end()) {
      chosen.push_back(things[at]);
    }
  }
  switch (random.Index(4)) {
    case 0:
      return Join(chosen);
    case 1:
      return Enumerate(chosen);
    case 2:
      return (person.man ? "a man with " : "a woman with ") + Enumerate(chosen);
    default:
      return WithArticle(AgeWord(person, second_choice)) +
             (person.man ? " man with " : " woman with ") + Enumerate(chosen);
  }
}

// How a caller names each of the things that ChangeLooks() changes; always as many, empty where
// nothing can be seen. `plain_hair`: by its colour alone.
Words ChangeableThings(const Person& person, bool second_choice, bool plain_hair) {
  const auto or_else = [](std::string word, const char* none) {
    return word.empty() ? std::string(none) : std::move(word);
  };
  return {plain_hair ? Name(kHairColors, person.hair) + " hair" : Hair(person, second_choice),
          or_else(GlassesWord(person, second_choice), "no glasses"),
          or_else(HatWord(person), "no hat"),
          or_else(Enumerate(FacialHair(person, second_choice)), "no beard"),
          Shirt(person, second_choice),
          WithArticle(BackgroundWord(person))};
}

}  // namespace

EditTexts DescribeEdit(const Person& from, const Person& to, uint64_t seed) {
  Random random(seed, kEditStream);
  const bool second_choice = random.Chance(0.5f);
  const bool plain_hair = from.hair_style == to.hair_style && from.hair_style != HairStyle::kBald &&
                          random.Chance(0.5f);
  const Words before = ChangeableThings(from, second_choice, plain_hair);
  const Words after = ChangeableThings(to, second_choice, plain_hair);
  std::vector<size_t> different;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] == after[i] || before[i].empty() || after[i].empty()) continue;
    const auto place =
        static_cast<std::ptrdiff_t>(random.Index(static_cast<int>(different.size()) + 1));
    different.insert(different.begin() + place, i);
  }
  const bool whole = random.Chance(0.2f), sentence = random.Chance(0.3f);
  if (different.empty() || whole) {
    const auto phrasing = static_cast<uint64_t>(random.Index(8));
    return {Caption(from, phrasing), Caption(to, phrasing)};
  }
  const auto say = [&](const Words& things) {
    Words chosen;
    for (const size_t i : different) chosen.push_back(things[i]);
    if (!sentence) return Join(chosen);
    return (from.man ? "a man with " : "a woman with ") + Enumerate(chosen);
  };
  return {say(before), say(after)};
}

std::string Caption(const Person& person, uint64_t phrasing, CaptionDetail detail) {
  if (detail == CaptionDetail::kPartial) return PartialCaption(person, phrasing);
  const uint64_t form = phrasing % 4;
  const bool second_choice = phrasing / 4 % 2 == 1;
  const std::string who = AgeWord(person, second_choice) + (person.man ? " man" : " woman");
  const std::string skin = Name(kSkinColors, person.skin) + " skin";
  const std::string background = BackgroundWord(person);
  Words features = Features(person, second_choice);
  std::string scene;
  if (detail == CaptionDetail::kDetailed) {
    for (std::string& feature : FaceDetails(person, second_choice)) {
      features.push_back(std::move(feature));
    }
    for (const std::string& item : SceneDetails(person, second_choice)) scene += ", " + item;
  }
  const Words clothes = Clothes(person, second_choice);

  Words seen{skin};
  seen.insert(seen.end(), features.begin(), features.end());
  switch (form) {
    case 0: {
      seen.insert(seen.end(), clothes.begin(), clothes.end());
      return WithArticle(who) + " with " + Join(seen) + ", " + background + scene;
    }
    case 1:
      return "portrait of " + WithArticle(who) + " with " + Enumerate(seen) + ", wearing " +
             Enumerate(clothes) + ", in front of " + WithArticle(background) + scene;
    case 2: {
      seen.insert(seen.end(), clothes.begin(), clothes.end());
      return who + ", " + Join(seen) + ", " + background + scene;
    }
    default:
      return WithArticle(who) + " wearing " + Enumerate(clothes) + " against " +
             WithArticle(background) + "; " + (person.man ? "he" : "she") + " has " +
             Enumerate(seen) + scene;
  }
}

}  // namespace reenact
