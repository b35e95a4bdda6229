// Learns a small byte-pair vocabulary (Sennrich et al. 2016) for ClipTokenizer from the captions.
// Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

// The content of merges.txt: at most `max_merges` merges, most frequent pair first, ties in
// alphabetical order; only pairs that occur at least twice. Words are split as the tokenizer splits
// them: lower-case letters together, digits singly, other marks together. kInvalidArgument if a
// text holds anything but printable ASCII, which the captions' grammar never makes.
absl::StatusOr<std::string> LearnMerges(const std::vector<std::string>& texts, size_t max_merges);

// Merges in the content of a merges.txt.
size_t CountMerges(const std::string& merges_text);

}  // namespace reenact
