// What a fuzz target is: a parser of strangers' bytes, and small valid inputs to begin from.
//
// A target is one .cc file that defines Seeds() and Run(), and a line in CMakeLists.txt. With clang
// and scripts/check-fuzz.sh it becomes a libFuzzer program; everywhere else a test (ctest label
// `fuzz`) that runs the seeds and a fixed number of mutations of them.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace reenact::fuzz {

// Valid inputs, made on the spot; the same each time.
std::vector<std::string> Seeds();

// Gives `input` to the parser. Whatever it is, the parser must return; what it returns must keep
// the parser's contract, checked by Require.
void Run(std::string_view input);

// A broken contract is a finding: it ends the process.
inline void Require(bool holds, const char* contract) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s\n", contract);
  std::abort();
}

// A refusal of bad input: its code is one that a caller gets for their own bytes, and it says why.
inline void RequireRefusal(const absl::Status& status) {
  const bool is_theirs = status.code() == absl::StatusCode::kInvalidArgument ||
                         status.code() == absl::StatusCode::kResourceExhausted;
  if (!is_theirs) std::fprintf(stderr, "status: %s\n", status.ToString().c_str());
  Require(is_theirs, "bad input is kInvalidArgument or kResourceExhausted");
  Require(status.message().size() > 5, "a refusal says why");
}

}  // namespace reenact::fuzz
