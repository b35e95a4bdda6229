#include "server/job_state.h"

namespace reenact {

bool IsTerminal(JobState state) {
  switch (state) {
    case JobState::kReceiving:
    case JobState::kPreparing:
    case JobState::kWaiting:
    case JobState::kRunning:
      return false;
    case JobState::kSucceeded:
    case JobState::kFailed:
    case JobState::kCancelled:
    case JobState::kExpired:
      return true;
  }
  return true;
}

bool CanMove(JobState from, JobState to) {
  if (IsTerminal(from)) return false;
  switch (to) {
    case JobState::kReceiving:
      return false;
    case JobState::kPreparing:
      return from == JobState::kReceiving;
    case JobState::kWaiting:
      return from == JobState::kReceiving || from == JobState::kPreparing;
    case JobState::kRunning:
      return from == JobState::kWaiting;
    case JobState::kSucceeded:
      return from == JobState::kRunning;
    case JobState::kFailed:
    case JobState::kCancelled:
    case JobState::kExpired:
      return true;
  }
  return false;
}

JobState EndState(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return JobState::kSucceeded;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnavailable:
      return JobState::kCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return JobState::kExpired;
    default:
      return JobState::kFailed;
  }
}

std::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kReceiving:
      return "receiving";
    case JobState::kPreparing:
      return "preparing";
    case JobState::kWaiting:
      return "waiting";
    case JobState::kRunning:
      return "running";
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kFailed:
      return "failed";
    case JobState::kCancelled:
      return "cancelled";
    case JobState::kExpired:
      return "expired";
  }
  return "unknown";
}

}  // namespace reenact
