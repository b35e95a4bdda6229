// Turns what a server answered into what a person can act on.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace reenact::tool {

// What the program ends with. The same text stands in --help.
enum ExitCode : int {
  kDone = 0,
  kJobFailed = 1,
  kBadInput = 2,     // wrong usage, or a file that cannot be used
  kNoServer = 3,     // not reachable, not ready, or lost
  kInterrupted = 4,  // cancelled, or the deadline has passed
};

ExitCode ExitCodeFor(const absl::Status& status);

// The files and addresses of a job, as the user wrote them; empty: not given.
struct JobNames {
  std::string source;
  std::string driving;
  std::string server;
};

// The flag that sets what a server's message calls `name`: a field of JobConfig or of
// ExtractMotionConfig ("window.frames", "further_faces[1].source"), or a value of an enum of theirs
// ("SAMPLER_DDIM"). Empty: it has no flag. None: no such name is known.
std::optional<absl::string_view> FlagOf(absl::string_view name);

// What went wrong, with which file or flag, and what to do: one sentence a line, no final newline.
std::string Explain(const absl::Status& status, const JobNames& names);

}  // namespace reenact::tool
