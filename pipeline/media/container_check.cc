#include "pipeline/media/container_check.h"

#include <cctype>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// Big- and little-endian numbers at `at`; the caller has checked the bounds.
uint64_t Big(std::string_view bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

uint64_t Little(std::string_view bytes, size_t at, int count) {
  uint64_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

std::string Missing(const std::string& part, uint64_t declared, uint64_t present) {
  return absl::StrCat("its ", part, " should have ", declared, " bytes and has ", present);
}

bool IsBoxName(std::string_view name) {
  for (char c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != ' ' && c != '-' && c != '_') {
      return false;
    }
  }
  return true;
}

bool IsMp4(std::string_view bytes) {
  if (bytes.size() < 8) return false;
  for (const char* name : {"ftyp", "moov", "mdat", "wide", "free", "skip", "pnot", "styp"}) {
    if (bytes.substr(4, 4) == name) return true;
  }
  return false;
}

// ISO 14496-12: boxes of 32-bit size and name; size 1: a 64-bit size follows; size 0: to the end of
// the file.
std::string CheckMp4(std::string_view bytes) {
  bool has_index = false;
  size_t at = 0;
  while (bytes.size() - at >= 8) {
    uint64_t size = Big(bytes, at, 4);
    const std::string_view name = bytes.substr(at + 4, 4);
    if (!IsBoxName(name)) break;  // rubbish after the last box is harmless
    if (size == 1 && bytes.size() - at >= 16) size = Big(bytes, at + 8, 8);
    if (size == 0) size = bytes.size() - at;
    if (size < 8) break;
    if (size > bytes.size() - at) {
      return Missing(absl::StrCat("MP4 box ", std::string(name)), size, bytes.size() - at);
    }
    if (name == "moov") has_index = true;
    at += size;
  }
  return has_index ? "" : "its MP4 index (box moov) is missing";
}

// An EBML number: the position of the first set bit tells the length. `keep_marker` for element
// names.
bool ReadEbml(std::string_view bytes, size_t& at, bool keep_marker, uint64_t& value,
              bool& unknown) {
  if (at >= bytes.size()) return false;
  const uint8_t first = static_cast<uint8_t>(bytes[at]);
  int length = 1;
  while (length <= 8 && (first & (0x80 >> (length - 1))) == 0) ++length;
  if (length > 8 || bytes.size() - at < static_cast<size_t>(length)) return false;
  value = Big(bytes, at, length);
  const uint64_t mask = (uint64_t{1} << (7 * length)) - 1;
  unknown = (value & mask) == mask;
  if (!keep_marker) value &= mask;
  at += static_cast<size_t>(length);
  return true;
}

// RFC 8794: the EBML header, then one Segment; a Segment of unknown size (live) has elements that
// may know theirs.
std::string CheckMatroska(std::string_view bytes) {
  constexpr uint64_t kSegment = 0x18538067;
  size_t at = 0;
  while (at < bytes.size()) {
    uint64_t name = 0;
    uint64_t size = 0;
    bool unknown = false;
    if (!ReadEbml(bytes, at, true, name, unknown) || !ReadEbml(bytes, at, false, size, unknown)) {
      break;
    }
    if (unknown) {
      if (name != kSegment) break;
      continue;  // step inside
    }
    if (size > bytes.size() - at) {
      return Missing("last Matroska element", size, bytes.size() - at);
    }
    at += size;
  }
  return "";
}

// RIFF chunks of the file: a 32-bit size after each name. Writers that could not seek back leave 0
// or all ones.
std::string CheckAvi(std::string_view bytes) {
  size_t at = 0;
  while (bytes.size() - at >= 12 && bytes.substr(at, 4) == "RIFF") {
    const uint64_t size = Little(bytes, at + 4, 4);
    if (size == 0 || size == 0xFFFFFFFF) break;
    if (size > bytes.size() - at - 8) {
      return Missing("AVI data", size, bytes.size() - at - 8);
    }
    at += 8 + size + (size & 1);
    if (at >= bytes.size()) break;
  }
  return "";
}

// FLV: header of stated size, 4 bytes, then tags of 11 bytes + data + 4 bytes.
std::string CheckFlv(std::string_view bytes) {
  if (bytes.size() < 9) return "its FLV header is incomplete";
  uint64_t at = Big(bytes, 5, 4) + 4;
  while (at < bytes.size()) {
    if (bytes.size() - at < 11) return "its last FLV tag is incomplete";
    const uint64_t size = Big(bytes, at + 1, 3) + 15;
    if (size > bytes.size() - at) {
      return Missing("last FLV tag", size, bytes.size() - at);
    }
    at += size;
  }
  return "";
}

// Ogg (RFC 3533): pages of 27 bytes, a table of segment lengths, the segments.
std::string CheckOgg(std::string_view bytes) {
  size_t at = 0;
  while (bytes.size() - at >= 27 && bytes.substr(at, 4) == "OggS") {
    const size_t num_segments = static_cast<uint8_t>(bytes[at + 26]);
    uint64_t size = 27 + num_segments;
    if (size <= bytes.size() - at) {
      for (size_t i = 0; i < num_segments; ++i) size += static_cast<uint8_t>(bytes[at + 27 + i]);
    }
    if (size > bytes.size() - at) {
      return Missing("last Ogg page", size, bytes.size() - at);
    }
    at += size;
  }
  if (at < bytes.size() && bytes.size() - at < 27) return "its last Ogg page is incomplete";
  return "";
}

std::string CheckGif(std::string_view bytes) {
  size_t end = bytes.size();
  while (end > 0 && bytes[end - 1] == '\0') --end;
  return end > 0 && bytes[end - 1] == ';' ? "" : "its GIF trailer is missing";
}

bool IsMpegTs(std::string_view bytes) {
  constexpr size_t kPacket = 188;
  if (bytes.size() < 3 * kPacket) return false;
  return bytes[0] == 0x47 && bytes[kPacket] == 0x47 && bytes[2 * kPacket] == 0x47;
}

// Boxes on the way from the top of an MP4 file to the tables of its samples.
bool HoldsTables(std::string_view name) {
  return name == "moov" || name == "trak" || name == "mdia" || name == "minf" || name == "stbl";
}

// Boxes of `bytes[at, end)`, inner ones included to `depth`: `found` is what the first bad one
// claims.
void FindHugeTables(std::string_view bytes, size_t at, size_t end, int depth, std::string& found) {
  constexpr uint64_t kFew = 1'000'000;
  constexpr uint64_t kTimesTheFile = 16;
  while (end - at >= 8 && found.empty()) {
    uint64_t size = Big(bytes, at, 4);
    uint64_t header = 8;
    const std::string_view name = bytes.substr(at + 4, 4);
    if (size == 1 && end - at >= 16) {
      size = Big(bytes, at + 8, 8);
      header = 16;
    }
    if (size == 0 || size > end - at) size = end - at;
    if (size < header) return;
    if (HoldsTables(name) && depth > 0) {
      FindHugeTables(bytes, at + header, at + size, depth - 1, found);
    } else if (name == "stsz" && size >= header + 12) {
      const uint64_t sample_size = Big(bytes, at + header + 4, 4);
      const uint64_t count = Big(bytes, at + header + 8, 4);
      if (sample_size > 0 && count > kFew && count * sample_size > kTimesTheFile * bytes.size()) {
        found = absl::StrCat("its index lists ", count, " samples of ", sample_size,
                             " bytes, and the file has ", bytes.size(), " bytes");
      }
    }
    at += size;
  }
}

}  // namespace

std::string FindImpossibleIndex(std::string_view bytes) {
  std::string found;
  constexpr int kDepth = 5;  // moov/trak/mdia/minf/stbl
  if (IsMp4(bytes)) FindHugeTables(bytes, 0, bytes.size(), kDepth, found);
  return found;
}

std::string FindCutOff(std::string_view bytes) {
  if (bytes.starts_with("\x1A\x45\xDF\xA3")) return CheckMatroska(bytes);
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "AVI ") {
    return CheckAvi(bytes);
  }
  if (bytes.starts_with("FLV\x01")) return CheckFlv(bytes);
  if (bytes.starts_with("OggS")) return CheckOgg(bytes);
  if (bytes.starts_with("GIF8")) return CheckGif(bytes);
  if (IsMp4(bytes)) return CheckMp4(bytes);
  if (IsMpegTs(bytes) && bytes.size() % 188 != 0) return "its last MPEG-TS packet is incomplete";
  return "";
}

}  // namespace reenact
