#include "training/people/palettes.h"

namespace reenact {

const std::array<NamedColor, 8> kSkinColors = {{{"very fair", {248, 216, 198}},
                                                {"fair", {244, 205, 178}},
                                                {"light", {232, 184, 152}},
                                                {"olive", {212, 168, 132}},
                                                {"tan", {190, 136, 100}},
                                                {"brown", {160, 106, 74}},
                                                {"dark brown", {122, 78, 54}},
                                                {"very dark", {92, 61, 47}}}};

const std::array<NamedColor, 10> kHairColors = {{{"black", {28, 24, 24}},
                                                 {"dark brown", {62, 40, 28}},
                                                 {"brown", {104, 66, 40}},
                                                 {"light brown", {148, 104, 66}},
                                                 {"blond", {214, 176, 104}},
                                                 {"red", {166, 66, 30}},
                                                 {"grey", {150, 150, 150}},
                                                 {"white", {226, 224, 218}},
                                                 {"blue", {60, 90, 190}},
                                                 {"pink", {226, 120, 168}}}};

const std::array<NamedColor, 6> kEyeColors = {{{"brown", {92, 58, 34}},
                                               {"dark brown", {58, 36, 24}},
                                               {"blue", {70, 124, 190}},
                                               {"green", {84, 138, 86}},
                                               {"grey", {124, 136, 146}},
                                               {"hazel", {132, 104, 56}}}};

const std::array<NamedColor, 10> kClothColors = {{{"red", {190, 48, 48}},
                                                  {"blue", {56, 92, 176}},
                                                  {"green", {58, 134, 82}},
                                                  {"yellow", {226, 190, 72}},
                                                  {"white", {232, 232, 228}},
                                                  {"black", {44, 44, 48}},
                                                  {"purple", {128, 72, 156}},
                                                  {"orange", {226, 128, 52}},
                                                  {"grey", {134, 138, 144}},
                                                  {"pink", {232, 150, 176}}}};

const std::array<NamedColor, 10> kBackgroundColors = {{{"white", {238, 238, 236}},
                                                       {"grey", {150, 154, 160}},
                                                       {"blue", {142, 182, 222}},
                                                       {"green", {150, 194, 150}},
                                                       {"beige", {222, 206, 178}},
                                                       {"pink", {236, 196, 204}},
                                                       {"dark", {64, 68, 80}},
                                                       {"purple", {178, 160, 206}},
                                                       {"teal", {96, 168, 168}},
                                                       {"orange", {240, 188, 132}}}};

const std::array<NamedColor, 5> kLightColors = {{{"white", {255, 255, 255}},
                                                 {"warm", {255, 206, 150}},
                                                 {"blue", {130, 178, 255}},
                                                 {"red", {255, 132, 116}},
                                                 {"green", {150, 240, 170}}}};

}  // namespace reenact
