// A loop on several threads.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace reenact {

// Calls `body(worker, i)` once for every i in 0..count-1, on `threads` threads (1 or more; at most
// `count` are started; one of them is the caller's). `worker` is 0..threads-1 and never in two
// calls at once. The order is by chance. Ends early after an error and returns one.
absl::Status ParallelFor(int threads, int count,
                         const std::function<absl::Status(int worker, int i)>& body);

}  // namespace reenact
