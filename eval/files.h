// Results on disk.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/evaluation.h"
#include "eval/plot.h"

namespace reenact {

// Makes `folder` and those above it. kInvalidArgument names it.
absl::Status MakeFolder(const std::string& folder);

// Replaces `path` atomically. kUnavailable names it.
absl::Status WriteWhole(const std::string& path, const std::string& bytes);

absl::Status WritePlot(const std::string& path, const Plot& plot);

// Two rows a clip: the source, and from `columns` moments the driving frames above the generated
// ones.
absl::Status WriteSampleSheet(const std::string& path, const std::vector<SampleClip>& samples,
                              int columns);

}  // namespace reenact
