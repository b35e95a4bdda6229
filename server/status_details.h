// Errors on their way to a caller: absl::Status into grpc::Status, google.rpc details included.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace reenact {

// `status` with google.rpc.RetryInfo attached.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);

// The same code, message and details. Payloads of `status` travel as google.rpc.Status details.
grpc::Status ToGrpcStatus(const absl::Status& status);

// What a caller may see of `status`: codes of the contract pass; any other code is our bug and
// becomes kInternal with the job's id and without the message (which may hold paths; it belongs
// into the log).
absl::Status ForCaller(const absl::Status& status, const std::string& job_id);

// Upper-case name of a status code as in gRPC, such as "INVALID_ARGUMENT".
std::string_view StatusCodeName(absl::StatusCode code);

}  // namespace reenact
