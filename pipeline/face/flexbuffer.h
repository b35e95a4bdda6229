// Options of custom operators: a FlexBuffer whose root is a map of numbers and vectors of numbers.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

// One entry of the map; a single number is a vector of one.
using FlexMap = std::map<std::string, std::vector<double>>;

// Integers and floats of any width, and vectors of one type of them. Entries of other types are
// left out. kInvalidArgument: damaged, or the root is not a map.
absl::StatusOr<FlexMap> ParseFlexMap(std::string_view bytes);

}  // namespace reenact
