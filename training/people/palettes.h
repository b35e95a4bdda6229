// Names and colours that people, clothes and backgrounds come in. The order is part of what a seed
// means: append only.
#pragma once

#include <array>

#include "training/people/people.h"

namespace reenact {

struct NamedColor {
  const char* name;
  Rgb color;
};

extern const std::array<NamedColor, 8> kSkinColors;  // light to dark
extern const std::array<NamedColor, 10> kHairColors;
extern const std::array<NamedColor, 6> kEyeColors;
extern const std::array<NamedColor, 10> kClothColors;  // clothes and hats
extern const std::array<NamedColor, 10> kBackgroundColors;
// Of lights; shares of full brightness times 255.
extern const std::array<NamedColor, 5> kLightColors;

// Indices that other code treats specially.
inline constexpr int kGreyHair = 6, kWhiteHair = 7, kFirstDyedHair = 8;
inline constexpr int kFirstDarkSkin = 5, kFirstSkinWithoutFreckles = 3;

}  // namespace reenact
