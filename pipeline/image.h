// A decoded picture as plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reenact {

// 8-bit RGB, row-major, no padding: byte (y * width + x) * 3 + channel.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;

  bool empty() const { return rgb.empty(); }
  const uint8_t* row(int y) const { return rgb.data() + static_cast<size_t>(y) * width * 3; }
  uint8_t* row(int y) { return rgb.data() + static_cast<size_t>(y) * width * 3; }
};

}  // namespace reenact
