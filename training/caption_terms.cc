#include "training/caption_terms.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace reenact {
namespace {

constexpr double kLeastShare = 0.01, kLargestShare = 0.9;  // of the people

}  // namespace

std::vector<std::string> CaptionTerms(const std::string& caption) {
  std::vector<std::string> terms;
  for (const absl::string_view item : absl::StrSplit(caption, absl::ByAnyChar(",;"))) {
    absl::string_view before;
    for (const absl::string_view word : absl::StrSplit(item, ' ', absl::SkipEmpty())) {
      if (word == "and") {
        before = {};
        continue;
      }
      terms.push_back(absl::StrCat(before, " ", word));
      before = word;
    }
  }
  std::sort(terms.begin(), terms.end());
  terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
  return terms;
}

TermTable TabulateTerms(const std::vector<std::vector<std::string>>& captions) {
  std::map<std::string, std::vector<int64_t>> people;
  for (size_t person = 0; person < captions.size(); ++person) {
    if (captions[person].empty()) continue;
    for (const std::string& term : CaptionTerms(captions[person][0])) {
      people[term].push_back(static_cast<int64_t>(person));
    }
  }
  const auto total = static_cast<double>(captions.size());
  std::erase_if(people, [total](const auto& entry) {
    const auto count = static_cast<double>(entry.second.size());
    return count < kLeastShare * total || count > kLargestShare * total;
  });
  TermTable table;
  table.holds =
      torch::zeros({static_cast<int64_t>(captions.size()), static_cast<int64_t>(people.size())});
  auto holds = table.holds.accessor<float, 2>();
  for (const auto& [term, of_term] : people) {
    for (const int64_t person : of_term) {
      holds[person][static_cast<int64_t>(table.terms.size())] = 1;
    }
    table.terms.push_back(term);
  }
  return table;
}

}  // namespace reenact
