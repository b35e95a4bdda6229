// What every call that takes long is told by: an id of its own and the time it has.
#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace reenact {

// 32 hexadecimal digits, 128 random bits from the system: ids cannot be guessed and do not collide.
std::string NewCallId();

// Infinite: the caller has set none.
absl::Time DeadlineOf(const grpc::ServerContextBase& context);

// gRPC tells of a deadline that has passed as it tells of a caller who left. A call that is
// cancelled from this time on is taken for one whose deadline has passed.
absl::Time ExpiredFrom(absl::Time deadline, absl::Time now);

// Why a call with that ExpiredFrom() was cancelled.
absl::Status CancelReason(absl::Time expired_from, absl::Time now);

}  // namespace reenact
