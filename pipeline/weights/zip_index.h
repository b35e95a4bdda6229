// Where the entries of a ZIP archive lie (PKWARE APPNOTE 6.3, with ZIP64), for archives too large
// to be unpacked: model files of many gigabytes are read in place. The archive counts as hostile.
// Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace reenact {

struct ZipEntry {
  std::string_view packed;  // the entry's bytes in the archive
  uint64_t size = 0;        // unpacked
  uint32_t crc32 = 0;
  bool deflated = false;  // else stored, and `packed` is the content
};

// Entries by name; folders are left out. kInvalidArgument: not an archive, damaged, encrypted,
// split over files, a compression other than deflate, a name twice.
absl::StatusOr<std::map<std::string, ZipEntry>> IndexZip(std::string_view archive);

// The content, with its checksum verified. kInvalidArgument: it does not unpack to its size, or
// has another checksum. kResourceExhausted: `entry.size` is above `max_size`.
absl::StatusOr<std::string> UnpackZipEntry(const ZipEntry& entry, uint64_t max_size);

}  // namespace reenact
