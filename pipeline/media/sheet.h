// Pictures side by side on white.
#pragma once

#include <cstdint>

#include "pipeline/image.h"

namespace reenact {

inline constexpr uint8_t kSheetPaper = 255;  // every channel
inline constexpr int kSheetGap = 4;          // pixels between pictures

// A white sheet of width x height pixels.
Image BlankSheet(int width, int height);

// `picture` with its left upper corner at (left, top) of `sheet`, inside which it must lie.
void PutOnSheet(const Image& picture, int left, int top, Image& sheet);

}  // namespace reenact
