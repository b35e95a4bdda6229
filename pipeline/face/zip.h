// A small ZIP archive as a whole (MediaPipe's .task bundles are such archives); zip_index.h reads
// it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace reenact {

// Whether the bytes end like an archive; it may begin with anything.
bool LooksLikeZip(std::string_view bytes);

// Every file by name, unpacked (stored or deflated) and checked against its CRC-32.
// kInvalidArgument: damaged, encrypted, of another method, or more than 256 MiB unpacked.
absl::StatusOr<std::map<std::string, std::string>> ReadZip(std::string_view bytes);

}  // namespace reenact
