#include "pipeline/media/sheet.h"

#include <algorithm>
#include <cstddef>

namespace reenact {

Image BlankSheet(int width, int height) {
  Image sheet{width, height, {}};
  sheet.rgb.assign(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, kSheetPaper);
  return sheet;
}

void PutOnSheet(const Image& picture, int left, int top, Image& sheet) {
  for (int y = 0; y < picture.height; ++y) {
    std::copy_n(picture.row(y), static_cast<size_t>(picture.width) * 3,
                sheet.row(top + y) + static_cast<size_t>(left) * 3);
  }
}

}  // namespace reenact
