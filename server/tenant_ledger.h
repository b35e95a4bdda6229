// What each tenant has been served, for fair shares: the virtual times of start-time fair queueing
// (Goyal, Vin and Cheng 1996) with equal weights.
//
// A tenant that has had nothing to do does not save up: when it comes back it is level with the one
// that has been served least meanwhile. Nor does it lose its debt by leaving: what it was served
// beyond the others is remembered until they have caught up.
//
// Thread-compatible.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace reenact {

class TenantLedger {
 public:
  // Before each step: the tenants that have something to run.
  void Begin(const std::set<std::string, std::less<>>& tenants);

  // Work of `tenant`, one of the last Begin(), up to now, in GFLOP.
  double served(std::string_view tenant) const;

  // `tenant`, one of the last Begin(), got `gflop`.
  void Charge(std::string_view tenant, double gflop);

  // Tenants that are remembered: those of the last Begin() and those that are ahead of them.
  size_t size() const { return served_.size(); }

 private:
  std::map<std::string, double, std::less<>> served_;
  std::set<std::string, std::less<>> tenants_;  // of the last Begin()
  // The least that any of them had been served then. Only rises, until nobody has anything to run.
  double least_ = 0;
};

}  // namespace reenact
