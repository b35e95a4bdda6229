// Small files that are either as they were or wholly new, also when the disk is full or the
// process is killed.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace reenact {

// Writes a temporary file beside `path`, flushes it to the disk and renames it. kUnavailable with
// the system's reason: `path` is what it was. Thread-safe for different paths.
absl::Status WriteFileAtomically(const std::string& path, const std::string& bytes);

}  // namespace reenact
