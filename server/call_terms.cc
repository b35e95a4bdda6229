#include "server/call_terms.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "absl/strings/str_format.h"

namespace reenact {
namespace {

// A client's clock for the deadline starts earlier than the server's by the time the call took to
// arrive: at its deadline the client cancels a call that has this much time left here.
absl::Duration DeadlineSlack(absl::Duration timeout) {
  return std::clamp(timeout / 10, absl::Milliseconds(20), absl::Seconds(1));
}

}  // namespace

std::string NewCallId() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppendFormat(&id, "%08x", device());
  return id;
}

absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

absl::Time ExpiredFrom(absl::Time deadline, absl::Time now) {
  return deadline - DeadlineSlack(deadline - now);
}

absl::Status CancelReason(absl::Time expired_from, absl::Time now) {
  return now >= expired_from ? absl::DeadlineExceededError("the call's deadline has passed")
                             : absl::CancelledError("the client went away or cancelled the call");
}

}  // namespace reenact
