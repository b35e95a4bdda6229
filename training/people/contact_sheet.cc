#include <algorithm>

#include "training/people/people.h"

namespace reenact {

Image ContactSheet(uint64_t first_seed, int columns, int rows, int size, Variety variety) {
  Image sheet{columns * size, rows * size, {}};
  sheet.rgb.resize(static_cast<size_t>(sheet.width) * static_cast<size_t>(sheet.height) * 3);
  for (int i = 0; i < columns * rows; ++i) {
    const uint64_t seed = first_seed + static_cast<uint64_t>(i);
    const Render render =
        PersonRenderer(MakePerson(seed, variety)).Draw(MakeClip(seed, 1, 25).front(), size);
    for (int y = 0; y < size; ++y) {
      std::copy_n(render.image.row(y), size * 3,
                  sheet.row(i / columns * size + y) + i % columns * size * 3);
    }
  }
  return sheet;
}

}  // namespace reenact
