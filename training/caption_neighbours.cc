#include "training/caption_neighbours.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "training/caption_terms.h"
#include "training/landmark_augmentation.h"

namespace reenact {

CaptionNeighbours::CaptionNeighbours(const std::vector<std::vector<std::string>>& captions)
    : terms_(captions.size()) {
  std::map<std::string, int64_t> ids;
  for (size_t person = 0; person < captions.size(); ++person) {
    if (captions[person].empty()) continue;
    std::vector<int64_t>& terms = terms_[person];
    for (const std::string& term : CaptionTerms(captions[person][0])) {
      terms.push_back(ids.try_emplace(term, static_cast<int64_t>(ids.size())).first->second);
    }
    people_.resize(ids.size());
    for (const int64_t term : terms) people_[term].push_back(static_cast<int64_t>(person));
  }
}

std::vector<int64_t> CaptionNeighbours::Draw(int64_t person, int64_t count, std::mt19937_64& random,
                                             std::vector<bool>& taken) const {
  std::vector<int64_t> drawn = {person};
  taken[person] = true;
  if (count == 1) return drawn;
  std::vector<std::pair<double, int64_t>> likeness(terms_.size());
  for (size_t p = 0; p < likeness.size(); ++p) {
    likeness[p] = {DrawUniform(random), static_cast<int64_t>(p)};  // decides among equals
  }
  for (const int64_t term : terms_[person]) {
    if (DrawUniform(random) < 0.5) continue;
    for (const int64_t p : people_[term]) likeness[p].first += 1;
  }
  std::erase_if(likeness, [&taken](const auto& entry) { return taken[entry.second]; });
  std::partial_sort(likeness.begin(), likeness.begin() + (count - 1), likeness.end(),
                    std::greater<>());
  for (int64_t i = 0; i < count - 1; ++i) {
    drawn.push_back(likeness[i].second);
    taken[likeness[i].second] = true;
  }
  return drawn;
}

}  // namespace reenact
