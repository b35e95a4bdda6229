#include "pipeline/anchored/row_shares.h"

#include <algorithm>
#include <cstddef>

namespace reenact {
namespace {

// Clips that can take part together in any number of rows from the first one's minimum on.
struct Party {
  std::vector<size_t> clips;
  std::vector<int> min_rows;  // of the first clip, of the first two, ...
  int max_rows = 0;
};

Party PartyOf(absl::Span<const RowDemand> demands) {
  Party party;
  for (size_t i = 0; i < demands.size(); ++i) {
    if (demands[i].max_rows == 0) continue;
    const int before = party.clips.empty() ? 0 : party.min_rows.back();
    const int min_rows = before + std::max(demands[i].min_rows, 1);
    if (!party.clips.empty() && min_rows > party.max_rows + 1) continue;
    party.clips.push_back(i);
    party.min_rows.push_back(min_rows);
    party.max_rows += demands[i].max_rows;
  }
  return party;
}

}  // namespace

RowDemand SumOfDemands(absl::Span<const RowDemand> demands) {
  const Party party = PartyOf(demands);
  if (party.clips.empty()) return {};
  return {.min_rows = party.min_rows.front(), .max_rows = party.max_rows};
}

std::vector<int> ShareRows(absl::Span<const RowDemand> demands, int num_rows) {
  const Party party = PartyOf(demands);
  std::vector<int> shares(demands.size(), 0);
  size_t count = 0;
  while (count < party.clips.size() && party.min_rows[count] <= num_rows) ++count;
  if (count == 0) return shares;
  int left = num_rows - party.min_rows[count - 1];
  for (size_t k = 0; k < count; ++k) {
    shares[party.clips[k]] = std::max(demands[party.clips[k]].min_rows, 1);
  }
  // One by one to whoever has the least and can take more.
  for (; left > 0; --left) {
    size_t least = demands.size();
    for (size_t k = 0; k < count; ++k) {
      const size_t clip = party.clips[k];
      if (shares[clip] >= demands[clip].max_rows) continue;
      if (least == demands.size() || shares[clip] < shares[least]) least = clip;
    }
    if (least == demands.size()) break;
    ++shares[least];
  }
  return shares;
}

}  // namespace reenact
