// The life of a job as a state machine.
//
//   receiving -> preparing -> waiting -> running -> succeeded
//   receiving ------------> waiting
// and from each of the first four to failed, cancelled or expired. The last four are terminal. The
// second line is the way of a job that is denoised while its driving media still comes in.
#pragma once

#include <array>
#include <string_view>

#include "absl/status/status.h"

namespace reenact {

enum class JobState {
  kReceiving,  // the driving media is coming in
  kPreparing,  // all of it is there and is being read
  kWaiting,    // prepared as far as it takes to begin, waiting for a place on the device
  kRunning,    // denoising, rendering or sending; driving media may still be coming in
  kSucceeded,
  kFailed,
  kCancelled,
  kExpired,
};

inline constexpr std::array<JobState, 8> kAllJobStates = {
    JobState::kReceiving, JobState::kPreparing, JobState::kWaiting,   JobState::kRunning,
    JobState::kSucceeded, JobState::kFailed,    JobState::kCancelled, JobState::kExpired};

bool IsTerminal(JobState state);

// Whether the machine has an edge from `from` to `to`.
bool CanMove(JobState from, JobState to);

// The terminal state of a job that ends with `status`. OK: succeeded. kCancelled, kUnavailable (the
// server had to stop): cancelled. kDeadlineExceeded: expired. Else failed.
JobState EndState(const absl::Status& status);

// Lower-case, for logs.
std::string_view JobStateName(JobState state);

}  // namespace reenact
