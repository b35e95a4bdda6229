#include "pipeline/face/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr uint64_t kMaxUnpacked = uint64_t{256} << 20;
// Sizes of the fixed parts of an archive's records.
constexpr size_t kLocalHeader = 30;
constexpr size_t kCentralHeader = 46;
constexpr size_t kEndRecord = 22;
constexpr size_t kMaxComment = 65535;

absl::Status Damaged(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("damaged archive: ", what));
}

// Little-endian number; the caller has checked the range.
template <typename T>
T Number(std::string_view bytes, size_t position) {
  T value;
  std::memcpy(&value, bytes.data() + position, sizeof(T));
  return value;
}

bool Inside(std::string_view bytes, size_t position, size_t count) {
  return position <= bytes.size() && count <= bytes.size() - position;
}

// The record that ends every archive: last, but for a comment. npos: there is none.
size_t FindEndRecord(std::string_view bytes) {
  if (bytes.size() < kEndRecord) return std::string_view::npos;
  const size_t search_from = bytes.size() - std::min(bytes.size(), kEndRecord + kMaxComment);
  const size_t end = bytes.rfind("PK\x05\x06", bytes.size() - kEndRecord);
  return end == std::string_view::npos || end < search_from ? std::string_view::npos : end;
}

absl::StatusOr<std::string> Inflate(std::string_view packed, size_t size) {
  std::string unpacked(size, '\0');
  z_stream stream = {};
  // Negative: a bare deflate stream.
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return absl::InternalError("zlib did not start");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(unpacked.data());
  stream.avail_out = static_cast<uInt>(unpacked.size());
  const int result = inflate(&stream, Z_FINISH);
  const bool complete = result == Z_STREAM_END && stream.total_out == size;
  inflateEnd(&stream);
  if (!complete) return Damaged("an entry does not unpack to its size");
  return unpacked;
}

}  // namespace

bool LooksLikeZip(std::string_view bytes) { return FindEndRecord(bytes) != std::string_view::npos; }

absl::StatusOr<std::map<std::string, std::string>> ReadZip(std::string_view bytes) {
  const size_t end = FindEndRecord(bytes);
  if (end == std::string_view::npos) return Damaged("no list of its files");
  const size_t count = Number<uint16_t>(bytes, end + 10);
  size_t position = Number<uint32_t>(bytes, end + 16);

  std::map<std::string, std::string> files;
  uint64_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!Inside(bytes, position, kCentralHeader) ||
        Number<uint32_t>(bytes, position) != 0x02014b50) {
      return Damaged("its list of files is cut");
    }
    const auto flags = Number<uint16_t>(bytes, position + 8);
    const auto method = Number<uint16_t>(bytes, position + 10);
    const auto crc = Number<uint32_t>(bytes, position + 16);
    const auto packed_size = Number<uint32_t>(bytes, position + 20);
    const auto size = Number<uint32_t>(bytes, position + 24);
    const size_t name_size = Number<uint16_t>(bytes, position + 28);
    const size_t extra_size = Number<uint16_t>(bytes, position + 30);
    const size_t comment_size = Number<uint16_t>(bytes, position + 32);
    const size_t local = Number<uint32_t>(bytes, position + 42);
    if (!Inside(bytes, position + kCentralHeader, name_size)) return Damaged("a name is cut");
    const std::string name(bytes.substr(position + kCentralHeader, name_size));
    position += kCentralHeader + name_size + extra_size + comment_size;

    if ((flags & 1) != 0) return Damaged(absl::StrCat("\"", name, "\" is encrypted"));
    total += size;
    if (total > kMaxUnpacked) return absl::InvalidArgumentError("archive is too large unpacked");
    if (!Inside(bytes, local, kLocalHeader) || Number<uint32_t>(bytes, local) != 0x04034b50) {
      return Damaged(absl::StrCat("\"", name, "\" has no header"));
    }
    const size_t data = local + kLocalHeader + Number<uint16_t>(bytes, local + 26) +
                        Number<uint16_t>(bytes, local + 28);
    if (!Inside(bytes, data, packed_size)) return Damaged(absl::StrCat("\"", name, "\" is cut"));
    const std::string_view packed = bytes.substr(data, packed_size);

    std::string content;
    if (method == 0 && packed_size == size) {
      content = std::string(packed);
    } else if (method == 8) {
      absl::StatusOr<std::string> unpacked = Inflate(packed, size);
      if (!unpacked.ok()) return unpacked.status();
      content = *std::move(unpacked);
    } else {
      return Damaged(absl::StrCat("\"", name, "\" has packing method ", method));
    }
    const uLong actual =
        crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
    if (actual != crc) return Damaged(absl::StrCat("\"", name, "\" does not match its checksum"));
    files[name] = std::move(content);
  }
  return files;
}

}  // namespace reenact
