#include "pipeline/weights/zip_index.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reenact {
namespace {

constexpr size_t kLocalHeader = 30;
constexpr size_t kCentralHeader = 46;
constexpr size_t kEndRecord = 22;
constexpr size_t kEnd64Record = 56;
constexpr size_t kEnd64Locator = 20;
constexpr size_t kMaxComment = 65535;
constexpr uint16_t kZip64Field = 1;
// In 16 and 32 bits: the number itself is in the ZIP64 record.
constexpr uint64_t kIn64 = 0xFFFFFFFF;
constexpr uint64_t kIn64Short = 0xFFFF;

absl::Status Damaged(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("damaged ZIP archive: ", what));
}

static_assert(std::endian::native == std::endian::little);

// The caller has checked the range.
template <typename T>
T Number(std::string_view bytes, uint64_t position) {
  T value;
  std::memcpy(&value, bytes.data() + position, sizeof(T));
  return value;
}

bool Inside(std::string_view bytes, uint64_t position, uint64_t count) {
  return position <= bytes.size() && count <= bytes.size() - position;
}

struct Directory {
  uint64_t offset = 0, size = 0, num_entries = 0;
};

absl::StatusOr<Directory> FindDirectory(std::string_view archive) {
  if (archive.size() < kEndRecord) return Damaged("too short");
  const size_t first = archive.size() - std::min(archive.size(), kEndRecord + kMaxComment);
  const size_t end =
      archive.substr(first).rfind(std::string_view("PK\x05\x06", 4), archive.size() - first);
  if (end == std::string_view::npos || !Inside(archive, first + end, kEndRecord)) {
    return Damaged("no directory at its end, as if it had been cut off");
  }
  const size_t at = first + end;
  if (Number<uint16_t>(archive, at + 4) != 0 && Number<uint16_t>(archive, at + 4) != kIn64Short) {
    return Damaged("one part of a split archive");
  }
  Directory directory;
  directory.num_entries = Number<uint16_t>(archive, at + 10);
  directory.size = Number<uint32_t>(archive, at + 12);
  directory.offset = Number<uint32_t>(archive, at + 16);
  // The ZIP64 record counts wherever there is one: some writers add it to small archives too.
  if (at >= kEnd64Locator && archive.substr(at - kEnd64Locator, 4) == "PK\x06\x07") {
    const uint64_t at64 = Number<uint64_t>(archive, at - kEnd64Locator + 8);
    if (!Inside(archive, at64, kEnd64Record) || archive.substr(at64, 4) != "PK\x06\x06") {
      return Damaged("its ZIP64 record is missing");
    }
    directory.num_entries = Number<uint64_t>(archive, at64 + 32);
    directory.size = Number<uint64_t>(archive, at64 + 40);
    directory.offset = Number<uint64_t>(archive, at64 + 48);
  }
  if (!Inside(archive, directory.offset, directory.size) ||
      directory.num_entries > directory.size / kCentralHeader) {
    return Damaged("its directory lies outside of it");
  }
  return directory;
}

// Sizes and offset of one entry, from 32 bits and, where these are full, the ZIP64 field.
struct Place {
  uint64_t size = 0, packed_size = 0, header = 0;
};

absl::StatusOr<Place> FindPlace(std::string_view directory, uint64_t at, std::string_view extra) {
  Place place = {.size = Number<uint32_t>(directory, at + 24),
                 .packed_size = Number<uint32_t>(directory, at + 20),
                 .header = Number<uint32_t>(directory, at + 42)};
  uint64_t* const full[] = {&place.size, &place.packed_size, &place.header};
  if (std::none_of(std::begin(full), std::end(full), [](uint64_t* n) { return *n == kIn64; })) {
    return place;
  }
  while (extra.size() >= 4) {
    const auto id = Number<uint16_t>(extra, 0), size = Number<uint16_t>(extra, 2);
    extra.remove_prefix(4);
    if (size > extra.size()) break;
    std::string_view field = extra.substr(0, size);
    extra.remove_prefix(size);
    if (id != kZip64Field) continue;
    for (uint64_t* number : full) {
      if (*number != kIn64) continue;
      if (field.size() < sizeof(uint64_t)) return Damaged("a ZIP64 field is too short");
      *number = Number<uint64_t>(field, 0);
      field.remove_prefix(sizeof(uint64_t));
    }
    return place;
  }
  return Damaged("a ZIP64 field is missing");
}

}  // namespace

absl::StatusOr<std::map<std::string, ZipEntry>> IndexZip(std::string_view archive) {
  const auto found = FindDirectory(archive);
  if (!found.ok()) return found.status();
  const std::string_view directory = archive.substr(found->offset, found->size);
  std::map<std::string, ZipEntry> entries;
  uint64_t at = 0;
  for (uint64_t i = 0; i < found->num_entries; ++i) {
    if (!Inside(directory, at, kCentralHeader) || directory.substr(at, 4) != "PK\x01\x02") {
      return Damaged("its directory ends early");
    }
    const auto flags = Number<uint16_t>(directory, at + 8);
    const auto method = Number<uint16_t>(directory, at + 10);
    const uint64_t name_size = Number<uint16_t>(directory, at + 28);
    const uint64_t extra_size = Number<uint16_t>(directory, at + 30);
    const uint64_t comment_size = Number<uint16_t>(directory, at + 32);
    if (!Inside(directory, at + kCentralHeader, name_size + extra_size + comment_size)) {
      return Damaged("its directory ends early");
    }
    std::string name(directory.substr(at + kCentralHeader, name_size));
    const auto place =
        FindPlace(directory, at, directory.substr(at + kCentralHeader + name_size, extra_size));
    if (!place.ok()) return place.status();
    const auto crc = Number<uint32_t>(directory, at + 16);
    at += kCentralHeader + name_size + extra_size + comment_size;
    if (name.ends_with('/')) continue;

    if ((flags & 1) != 0) return Damaged(absl::StrCat(name, " is encrypted"));
    if (method != 0 && method != 8) {
      return Damaged(absl::StrCat(name, " has the unknown compression ", method));
    }
    if (!Inside(archive, place->header, kLocalHeader) ||
        archive.substr(place->header, 4) != "PK\x03\x04") {
      return Damaged(absl::StrCat(name, " is not where the directory says"));
    }
    // The local header's extra field may be longer than the directory's: writers pad with it.
    const uint64_t data = place->header + kLocalHeader +
                          Number<uint16_t>(archive, place->header + 26) +
                          Number<uint16_t>(archive, place->header + 28);
    if (!Inside(archive, data, place->packed_size)) {
      return Damaged(absl::StrCat(name, " ends behind the archive"));
    }
    ZipEntry entry = {.packed = archive.substr(data, place->packed_size),
                      .size = place->size,
                      .crc32 = crc,
                      .deflated = method == 8};
    if (!entry.deflated && entry.size != entry.packed.size()) {
      return Damaged(absl::StrCat(name, " is stored with two sizes"));
    }
    if (!entries.emplace(name, entry).second) {
      return Damaged(absl::StrCat(name, " occurs twice"));
    }
  }
  return entries;
}

absl::StatusOr<std::string> UnpackZipEntry(const ZipEntry& entry, uint64_t max_size) {
  if (entry.size > max_size) {
    return absl::ResourceExhaustedError(
        absl::StrCat("unpacks to ", entry.size, " bytes, more than ", max_size));
  }
  std::string content;
  if (entry.deflated) {
    // Deflate gains at most a factor of 1032, so nothing is allocated for a false size.
    if (entry.size / 1032 > entry.packed.size() + 1 ||
        entry.packed.size() > std::numeric_limits<uInt>::max() ||
        entry.size > std::numeric_limits<uInt>::max()) {
      return Damaged("an entry does not unpack to its size");
    }
    content.resize(entry.size);
    z_stream stream = {};
    // Negative: a bare deflate stream.
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return absl::InternalError("zlib did not start");
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(entry.packed.data()));
    stream.avail_in = static_cast<uInt>(entry.packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(content.data());
    stream.avail_out = static_cast<uInt>(content.size());
    const int result = inflate(&stream, Z_FINISH);
    const bool complete = result == Z_STREAM_END && stream.total_out == entry.size;
    inflateEnd(&stream);
    if (!complete) return Damaged("an entry does not unpack to its size");
  } else {
    content = std::string(entry.packed);
  }
  const auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(content.data()),
                             static_cast<z_size_t>(content.size()));
  if (static_cast<uint32_t>(crc) != entry.crc32) return Damaged("an entry has the wrong checksum");
  return content;
}

}  // namespace reenact
