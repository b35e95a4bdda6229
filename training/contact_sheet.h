// Pictures side by side in one PNG file, to look at.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/image.h"

namespace reenact {

// Rows of uint8 [3,S,S] pictures of one size; shorter rows are filled with grey. kInvalidArgument:
// no picture at all.
absl::StatusOr<Image> MakeContactSheet(const std::vector<std::vector<torch::Tensor>>& rows);
// The same as a PNG file, replaced atomically.
absl::Status WriteContactSheet(const std::string& path,
                               const std::vector<std::vector<torch::Tensor>>& rows);

}  // namespace reenact
