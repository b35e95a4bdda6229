#include "server/tenant_ledger.h"

#include <algorithm>
#include <limits>

namespace reenact {

void TenantLedger::Begin(const std::set<std::string, std::less<>>& tenants) {
  if (tenants.empty()) {
    served_.clear();
    tenants_.clear();
    least_ = 0;
    return;
  }
  // Who comes is level with the least served of those who stay; if all have left, of those.
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double least_staying = kNone, least_before = kNone;
  for (const std::string& tenant : tenants_) {
    const double served = served_.find(tenant)->second;
    least_before = std::min(least_before, served);
    if (tenants.contains(tenant)) least_staying = std::min(least_staying, served);
  }
  if (least_before < kNone) {
    least_ = std::max(least_, least_staying < kNone ? least_staying : least_before);
  }
  for (const std::string& tenant : tenants) {
    double& served = served_.emplace(tenant, least_).first->second;
    served = std::max(served, least_);
  }
  std::erase_if(served_, [&](const auto& entry) {
    return entry.second <= least_ && !tenants.contains(entry.first);
  });
  tenants_ = tenants;
}

double TenantLedger::served(std::string_view tenant) const {
  const auto entry = served_.find(tenant);
  return entry == served_.end() ? least_ : entry->second;
}

void TenantLedger::Charge(std::string_view tenant, double gflop) {
  if (const auto entry = served_.find(tenant); entry != served_.end()) entry->second += gflop;
}

}  // namespace reenact
