// Results on disk.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "eval/plot.h"
#include "pipeline/image.h"

namespace reenact {

// Makes `folder` and those above it. kInvalidArgument names it.
absl::Status MakeFolder(const std::string& folder);

// Replaces `path` atomically. kUnavailable names it.
absl::Status WriteWhole(const std::string& path, const std::string& bytes);

absl::Status WritePlot(const std::string& path, const Plot& plot);

// Two rows: the source, and from `columns` moments the driving frames above the generated ones. All
// pictures have one size; there are as many driving as generated frames, at least one.
Image DrawSample(const Image& source, const std::vector<Image>& driving,
                 const std::vector<Image>& generated, int columns);

// Samples of one size below each other; at least one.
absl::Status WriteSampleSheet(const std::string& path, const std::vector<Image>& samples);

}  // namespace reenact
