// Whose call it is.
#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"

namespace reenact {

// The tenant of a call, as reenact.proto defines it: the authenticated identity of the peer, else
// the request metadata `reenact-tenant`, else empty. kInvalidArgument: the metadata is not 1 to 64
// printable ASCII characters.
absl::StatusOr<std::string> TenantOf(const grpc::ServerContextBase& context);

}  // namespace reenact
