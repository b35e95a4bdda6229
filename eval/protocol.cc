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
absl::StatusOr<std::vector<Value>> FindAll(const Names<Value>& names, const std::string& words,
                                           absl::string_view flag) {
  std::vector<Value> values;
  for (const absl::string_view word : absl::StrSplit(words, ',')) {
    const auto value = Find(names, word, flag);
    if (!value.ok()) return value.status();
    if (std::find(values.begin(), values.end(), *value) != values.end()) {
      return absl::InvalidArgumentError(absl::StrCat(flag, " names \"", word, "\" twice"));
    }
    values.push_back(*value);
  }
  return values;
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
  return FindAll(Protocols(), names, "protocols");
}

const char* MethodWord(LongVideoMethod method) {
  for (const auto& [name, value] : Methods()) {
    if (value == method) return name.c_str();
  }
  return "";
}

absl::StatusOr<std::vector<LongVideoMethod>> ParseMethods(const std::string& names) {
  return FindAll(Methods(), names, "methods");
}

absl::StatusOr<SequencePlan> ParsePlan(const std::string& name) {
  return Find(Plans(), name, "plan");
}

}  // namespace reenact
