#include "pipeline/face/zip.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "pipeline/weights/zip_index.h"

namespace reenact {
namespace {

constexpr uint64_t kMaxUnpacked = uint64_t{256} << 20;
// Of the record that ends every archive, and of the comment behind it.
constexpr size_t kEndRecord = 22;
constexpr size_t kMaxComment = 65535;

}  // namespace

bool LooksLikeZip(std::string_view bytes) {
  if (bytes.size() < kEndRecord) return false;
  const size_t search_from = bytes.size() - std::min(bytes.size(), kEndRecord + kMaxComment);
  const size_t end = bytes.rfind("PK\x05\x06", bytes.size() - kEndRecord);
  return end != std::string_view::npos && end >= search_from;
}

absl::StatusOr<std::map<std::string, std::string>> ReadZip(std::string_view bytes) {
  const auto index = IndexZip(bytes);
  if (!index.ok()) return index.status();
  std::map<std::string, std::string> files;
  uint64_t left = kMaxUnpacked;
  for (const auto& [name, entry] : *index) {
    auto content = UnpackZipEntry(entry, left);
    if (!content.ok()) return absl::InvalidArgumentError(content.status().message());
    left -= content->size();
    files[name] = *std::move(content);
  }
  return files;
}

}  // namespace reenact
