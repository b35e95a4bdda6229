// The bytes of JPEG files with everything in them that a splitter may take for their end. They
// follow the grammar of the format; no decoder would make a picture of them.
#pragma once

#include <string>
#include <string_view>

namespace reenact::testing {

inline std::string Segment(char code, std::string_view content) {
  const size_t length = content.size() + 2;
  std::string segment = {'\xff', code, static_cast<char>(length >> 8),
                         static_cast<char>(length & 0xff)};
  return segment.append(content);
}

// A small baseline file that says `content`, which must not hold 0xff.
inline std::string SmallJpeg(std::string_view content) {
  return "\xff\xd8" + Segment('\xdb', std::string(65, '\x01')) +
         Segment('\xc0', std::string("\x08\x00\x10\x00\x10\x01\x01\x11\x00", 9)) +
         Segment('\xda', std::string("\x01\x01\x00\x00\x3f\x00", 6)) + std::string(content) +
         "\xff\xd9";
}

// A progressive file: a thumbnail in an APP1 segment, marker-like bytes in a comment, restart
// markers, stuffed and fill bytes, tables between two scans.
inline std::string TrickyJpeg(std::string_view content) {
  using std::string_literals::operator""s;
  const std::string scan = Segment('\xda', "\x01\x01\x00\x00\x3f\x00"s);
  return "\xff\xd8"s + Segment('\xe1', "Exif\0\0"s + SmallJpeg("thumbnail")) +
         Segment('\xfe', "\xff\xd9\xff\xd8\xff\xda"s) + "\xff\xff\xff"s +
         Segment('\xdb', std::string(65, '\x02')).substr(1) +
         Segment('\xc2', "\x08\x00\x10\x00\x10\x01\x01\x11\x00"s) + Segment('\xdd', "\x00\x04"s) +
         scan + std::string(content) + "\xff\x00\xff\xd0\xd9\xff\xd7\xff\xff\x00 \xff"s +
         Segment('\xc4', std::string(20, '\x03')) + scan + "\xff\x00\xd8\xff\xff\xff\xd9"s;
}

}  // namespace reenact::testing
