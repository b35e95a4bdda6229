// The text of --pair: names and values, as in
//   driver-face=1; source=b.png; text="long hair; a hat"
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reenact::tool {

// NAME=VALUE parts between semicolons, in order, without the white space around them. A value in
// double quotes may hold semicolons; in it \" is a quote and \\ a backslash. Parts of white space
// alone are left out. kInvalidArgument: says which part has no name, no value, or no second quote.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> SplitPair(absl::string_view text);

}  // namespace reenact::tool
