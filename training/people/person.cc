#include <algorithm>
#include <cmath>

#include "training/people/palettes.h"
#include "training/people/people.h"
#include "training/people/random.h"
#include "training/people/vec3.h"

namespace reenact {
namespace {

FaceShape MakeShape(Random& random, bool man) {
  FaceShape shape;
  for (float* number :
       {&shape.face_width, &shape.jaw_width, &shape.chin_length, &shape.chin_width,
        &shape.forehead_height, &shape.head_depth, &shape.nose_length, &shape.nose_width,
        &shape.nose_protrusion, &shape.nose_bridge, &shape.eye_size, &shape.eye_spacing,
        &shape.eye_slant, &shape.brow_height, &shape.mouth_width, &shape.mouth_height,
        &shape.lip_thickness, &shape.cheeks}) {
    *number = random.ClippedNormal(0.5f, 1);
  }
  shape.eye_size += 0.45f;  // looks friendlier
  if (man) {
    shape.jaw_width += 0.4f;
    shape.eye_size -= 0.25f;
    shape.lip_thickness -= 0.3f;
    shape.brow_height -= 0.3f;
  } else {
    shape.jaw_width -= 0.35f;
    shape.eye_size += 0.35f;
    shape.lip_thickness += 0.3f;
    shape.nose_width -= 0.3f;
  }
  for (float* number : {&shape.jaw_width, &shape.eye_size, &shape.lip_thickness, &shape.brow_height,
                        &shape.nose_width}) {
    *number = std::clamp(*number, -1.0f, 1.0f);
  }
  return shape;
}

Paint PaintFrom(const NamedColor& entry, int index, float factor) {
  return {index,
          {std::min(entry.color.r * factor, 252.0f), std::min(entry.color.g * factor, 252.0f),
           std::min(entry.color.b * factor, 252.0f)}};
}

int PickHairColor(Random& random, int skin, AgeGroup age) {
  if (age == AgeGroup::kOld) {
    return skin >= kFirstDarkSkin
               ? random.Pick({.26f, .1f, .02f, 0, 0, 0, .4f, .22f, 0, 0})
               : random.Pick({.09f, .08f, .06f, .04f, .05f, .03f, .4f, .23f, .01f, .01f});
  }
  return skin >= kFirstDarkSkin ? random.Pick({.6f, .25f, .05f, .02f, .02f, .01f, 0, 0, .03f, .02f})
                                : random.Pick({.22f, .2f, .16f, .11f, .12f, .1f, 0, 0, .04f, .05f});
}

// A stream of its own, so that the rest of a person is what it is without.
void AddVariety(Person& person) {
  Random random(person.seed, 4);
  const int pattern = random.Pick({0.7f, 0.18f, 0.12f});
  if (!person.striped_clothes) person.pattern = static_cast<ClothPattern>(pattern);

  const int lights = random.Pick({0.35f, 0.4f, 0.25f});
  for (int i = 0; i < lights; ++i) {
    // The first fills in the side that the main light leaves dark; the second is behind the person.
    const bool behind = i == 1;
    const float side = person.light_direction[0] > 0 ? -1.0f : 1.0f;
    const Vec3 direction = Normalized({side * random.Uniform(0.5f, 1.2f),
                                       random.ClippedNormal(0.35f, 0.7f), behind ? -0.5f : 0.8f});
    const int color = random.Pick({.4f, .26f, .16f, .09f, .09f});
    person.extra_lights.push_back(
        {{direction.x, direction.y, direction.z},
         color,
         behind ? random.Uniform(0.25f, 0.5f) : random.Uniform(0.08f, 0.2f)});
  }
  person.lens.distance = random.Uniform(38, 110);
  person.lens.exposure = 0.97f + random.ClippedNormal(0.09f, 0.16f);
  person.lens.warmth = random.ClippedNormal(0.35f, 1);
  person.lens.vignette = random.Chance(0.5f) ? random.Uniform(0, 0.3f) : 0;
}

}  // namespace

Person MakePerson(uint64_t seed, Variety variety) {
  Random random(seed, 1);
  Person person;
  person.seed = seed;
  person.man = random.Chance(0.5f);
  person.age = static_cast<AgeGroup>(random.Pick({0.45f, 0.35f, 0.2f}));
  person.shape = MakeShape(random, person.man);

  const int skin = random.Index(static_cast<int>(kSkinColors.size()));
  person.skin = {skin, kSkinColors[static_cast<size_t>(skin)].color};
  for (float* channel : {&person.skin.color.r, &person.skin.color.g, &person.skin.color.b}) {
    *channel = std::min(*channel + random.ClippedNormal(4, 8), 255.0f);
  }
  const int hair = PickHairColor(random, skin, person.age);
  person.hair =
      PaintFrom(kHairColors[static_cast<size_t>(hair)], hair, random.Uniform(0.9f, 1.12f));
  const int eyes = skin < kFirstDarkSkin ? random.Pick({.3f, .2f, .18f, .12f, .1f, .1f})
                                         : random.Pick({.4f, .5f, .02f, .02f, .02f, .04f});
  person.eyes = {eyes, kEyeColors[static_cast<size_t>(eyes)].color};
  const int cloth = random.Index(static_cast<int>(kClothColors.size()));
  person.clothes =
      PaintFrom(kClothColors[static_cast<size_t>(cloth)], cloth, random.Uniform(0.92f, 1.06f));
  person.striped_clothes = random.Chance(0.2f);
  person.collar = random.Index(3);
  const int background = random.Index(static_cast<int>(kBackgroundColors.size()));
  person.background = PaintFrom(kBackgroundColors[static_cast<size_t>(background)], background,
                                random.Uniform(0.88f, 1.05f));
  person.backdrop = static_cast<Backdrop>(random.Index(3));

  // No hat over a bun or an afro: it would hide what the caption names.
  const int hat = random.Pick({0.88f, 0.08f, 0.04f});
  const int hat_color = random.Index(static_cast<int>(kClothColors.size()));
  person.hat_paint = PaintFrom(kClothColors[static_cast<size_t>(hat_color)], hat_color,
                               random.Uniform(0.9f, 1.05f));
  // bald, buzz cut, short, afro, bob, long, bun
  person.hair_style =
      static_cast<HairStyle>(person.man ? random.Pick({.12f, .2f, .5f, .05f, .05f, .06f, .02f})
                                        : random.Pick({0, .01f, .16f, .06f, .27f, .38f, .12f}));
  const bool tall_hair =
      person.hair_style == HairStyle::kBun || person.hair_style == HairStyle::kAfro;
  person.hat = tall_hair ? Hat::kNone : static_cast<Hat>(hat);

  const float fringe =
      std::array<float, 5>{0, 0, 1.2f, 2.0f, 2.6f}[static_cast<size_t>(random.Index(5))];
  const bool has_fringe = person.hair_style != HairStyle::kBald &&
                          person.hair_style != HairStyle::kBuzzCut &&
                          person.hair_style != HairStyle::kAfro && person.hat == Hat::kNone;
  person.fringe_length = has_fringe ? fringe : 0;
  person.fringe_parting = random.Uniform(-1, 1);

  person.glasses = static_cast<Glasses>(random.Pick({.55f, .2f, .17f, .08f}));
  // Dark frames mostly, as most are.
  person.glasses_color = std::array<Rgb, 4>{{{30, 30, 34},
                                             {36, 32, 30},
                                             {84, 48, 30},
                                             {128, 32, 42}}}[static_cast<size_t>(random.Index(4))];
  const int beard = random.Pick({.6f, .2f, .2f});
  const bool moustache = random.Chance(0.15f);
  person.beard = person.man ? static_cast<Beard>(beard) : Beard::kNone;
  person.moustache = person.man && (person.beard == Beard::kFull || moustache);

  person.brow_thickness = random.Uniform(0.6f, 1) * (person.man ? 1.15f : 0.8f);
  const float make_up = random.Uniform(0.2f, 1), lipstick = random.Uniform(0.3f, 1);
  person.make_up = person.man ? 0 : make_up;
  person.lipstick = person.man ? lipstick * 0.3f : lipstick;
  person.lipstick_color = random.Chance(0.67f) ? Rgb{188, 50, 66} : Rgb{206, 88, 96};
  person.blush = random.Uniform(0.1f, 0.5f);
  person.freckles = random.Chance(0.15f) && skin < kFirstSkinWithoutFreckles;

  const float light_x = random.ClippedNormal(0.6f, 1.3f),
              light_y = 0.45f + random.ClippedNormal(0.35f, 0.7f);
  const Vec3 light = Normalized({light_x, light_y, 1});
  person.light_direction = {light.x, light.y, light.z};
  person.light_contrast = random.Uniform(0.45f, 0.7f);
  if (variety == Variety::kRich) AddVariety(person);
  return person;
}

Person ChangeLooks(const Person& person, uint64_t seed) {
  Random random(seed, 5);
  std::array<bool, 6> change{};
  const float chance = random.Chance(0.5f) ? 0.0f : 0.4f;
  for (bool& one : change) one = random.Chance(chance);
  const int num_changeable = person.man ? 6 : 5;  // the last one is the beard
  constexpr size_t kGlasses = 2;
  const bool glasses_for_sure = random.Chance(0.25f);
  change[glasses_for_sure ? kGlasses : static_cast<size_t>(random.Index(num_changeable))] = true;
  const auto [hair_color, hair_style, glasses, clothes, background, beard] = change;

  // Looks that go together are taken from one person, of the same sex.
  Person other = MakePerson(random.Next());
  while (other.man != person.man) other = MakePerson(random.Next());
  Person changed = person;
  if (hair_color) changed.hair = other.hair;
  if (hair_style) {
    changed.hair_style = other.hair_style;
    changed.fringe_length = other.fringe_length;
    changed.fringe_parting = other.fringe_parting;
    changed.hat = other.hat;
    changed.hat_paint = other.hat_paint;
  }
  if (glasses) {
    // Who wears some takes them off two times of three; otherwise an even choice among the others.
    const int step = 1 + random.Index(3);
    const bool take_off = person.glasses != Glasses::kNone && random.Chance(0.5f);
    changed.glasses = take_off
                          ? Glasses::kNone
                          : static_cast<Glasses>((static_cast<int>(person.glasses) + step) % 4);
    changed.glasses_color = other.glasses_color;
  }
  if (beard && person.man) {
    const int step = 1 + random.Index(2);
    changed.beard = static_cast<Beard>((static_cast<int>(person.beard) + step) % 3);
    changed.moustache = changed.beard == Beard::kFull || other.moustache;
  }
  if (clothes) {
    changed.clothes = other.clothes;
    changed.striped_clothes = other.striped_clothes;
    changed.collar = other.collar;
  }
  if (background) {
    changed.background = other.background;
    changed.backdrop = other.backdrop;
  }
  return changed;
}

}  // namespace reenact
