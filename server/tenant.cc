#include "server/tenant.h"

#include <grpcpp/security/auth_context.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr char kMetadataKey[] = "reenact-tenant";
constexpr size_t kMaxTenantLength = 64;

}  // namespace

absl::StatusOr<std::string> TenantOf(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth != nullptr && auth->IsPeerAuthenticated()) {
    const std::vector<grpc::string_ref> identity = auth->GetPeerIdentity();
    if (!identity.empty()) return std::string(identity[0].data(), identity[0].size());
  }
  const auto metadata = context.client_metadata().find(kMetadataKey);
  if (metadata == context.client_metadata().end()) return std::string();
  const std::string tenant(metadata->second.data(), metadata->second.size());
  const bool printable = std::all_of(tenant.begin(), tenant.end(), [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c));
  });
  if (tenant.empty() || tenant.size() > kMaxTenantLength || !printable) {
    return absl::InvalidArgumentError(absl::StrCat("metadata ", kMetadataKey, " has ",
                                                   tenant.size(), " characters, must have 1 to ",
                                                   kMaxTenantLength, " printable ASCII ones"));
  }
  return tenant;
}

}  // namespace reenact
