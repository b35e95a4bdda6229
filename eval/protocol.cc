#include "eval/protocol.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace reenact {
namespace {

template <typename Value>
using Names = std::vector<std::pair<std::string, Value>>;

const Names<Protocol>& Protocols() {
  static const auto* const names =
      new Names<Protocol>{{TraitsOf(Protocol::kSame).name, Protocol::kSame},
                          {TraitsOf(Protocol::kCross).name, Protocol::kCross},
                          {TraitsOf(Protocol::kCrossRelative).name, Protocol::kCrossRelative}};
  return *names;
}

const Names<LongVideoMethod>& Methods() {
  static const auto* const names =
      new Names<LongVideoMethod>{{"anchored", LongVideoMethod::kAnchored},
                                 {"multidiffusion", LongVideoMethod::kMultiDiffusion},
                                 {"overlapped", LongVideoMethod::kOverlapped},
                                 {"independent", LongVideoMethod::kIndependent}};
  return *names;
}

const Names<SequencePlan>& Plans() {
  static const auto* const names =
      new Names<SequencePlan>{{"central-random", SequencePlan::kCentralRandom},
                              {"central-interleaved", SequencePlan::kCentralInterleaved},
                              {"contiguous", SequencePlan::kContiguous},
                              {"balanced", SequencePlan::kBalanced}};
  return *names;
}

template <typename Value>
absl::StatusOr<Value> Find(const Names<Value>& names, absl::string_view word,
                           absl::string_view flag) {
  for (const auto& [name, value] : names) {
    if (name == word) return value;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " is \"", word, "\", must be one of ",
      absl::StrJoin(names, ", ",
                    [](std::string* out, const auto& entry) { out->append(entry.first); })));
}

template <typename Value>
absl::Status CheckOnce(const std::vector<Value>& values, const Value& value, absl::string_view word,
                       absl::string_view flag) {
  if (std::find(values.begin(), values.end(), value) == values.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(flag, " names \"", word, "\" twice"));
}

absl::StatusOr<Way> ParseWay(absl::string_view word, SequencePlan plan) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(word, absl::MaxSplits(':', 1));
  const auto method = Find(Methods(), parts.first, "methods");
  if (!method.ok()) return method.status();
  Way way{std::string(word), *method, plan};
  if (parts.first.size() == word.size()) return way;
  if (*method != LongVideoMethod::kAnchored) {
    return absl::InvalidArgumentError(
        absl::StrCat("methods is \"", word, "\", but only anchored has a plan"));
  }
  const auto own_plan = Find(Plans(), parts.second, "the plan of methods");
  if (!own_plan.ok()) return own_plan.status();
  way.plan = *own_plan;
  return way;
}

}  // namespace

const ProtocolTraits& TraitsOf(Protocol protocol) {
  static constexpr std::array<ProtocolTraits, 3> kTraits = {
      {{"same", false, true, MotionMode::kAbsolute},
       {"cross", true, true, MotionMode::kAbsolute},
       {"cross-relative", true, false, MotionMode::kRelative}}};
  return kTraits[static_cast<size_t>(protocol)];
}

absl::StatusOr<std::vector<Protocol>> ParseProtocols(const std::string& names) {
  std::vector<Protocol> protocols;
  for (const absl::string_view word : absl::StrSplit(names, ',')) {
    const auto protocol = Find(Protocols(), word, "protocols");
    if (!protocol.ok()) return protocol.status();
    if (auto status = CheckOnce(protocols, *protocol, word, "protocols"); !status.ok()) {
      return status;
    }
    protocols.push_back(*protocol);
  }
  return protocols;
}

absl::StatusOr<std::vector<Way>> ParseWays(const std::string& names, SequencePlan plan) {
  std::vector<Way> ways;
  std::vector<std::string> seen;
  for (const absl::string_view word : absl::StrSplit(names, ',')) {
    auto way = ParseWay(word, plan);
    if (!way.ok()) return way.status();
    if (auto status = CheckOnce(seen, way->name, word, "methods"); !status.ok()) return status;
    seen.push_back(way->name);
    ways.push_back(*std::move(way));
  }
  return ways;
}

absl::StatusOr<SequencePlan> ParsePlan(const std::string& name) {
  return Find(Plans(), name, "plan");
}

}  // namespace reenact
