// Pictures side by side in one PNG file, to look at.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace reenact {

// Rows of uint8 [3,S,S] pictures of one size; shorter rows are filled with grey.
absl::Status WriteContactSheet(const std::string& path,
                               const std::vector<std::vector<torch::Tensor>>& rows);

}  // namespace reenact
