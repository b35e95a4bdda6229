#include "training/bpe_trainer.h"

#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace reenact {
namespace {

constexpr char kHeader[] = "#version: 0.2";

enum class Kind { kSpace, kLetter, kDigit, kMark };

Kind KindOf(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (absl::ascii_isspace(byte)) return Kind::kSpace;
  if (absl::ascii_isalpha(byte)) return Kind::kLetter;
  return absl::ascii_isdigit(byte) ? Kind::kDigit : Kind::kMark;
}

using Symbols = std::vector<std::string>;

// Adds the words of `text`, as symbols, to `counts`.
void CountWords(const std::string& text, std::map<Symbols, int64_t>& counts) {
  Symbols word;
  const auto end_word = [&] {
    if (word.empty()) return;
    word.back() += "</w>";
    ++counts[word];
    word.clear();
  };
  Kind last = Kind::kSpace;
  for (const char c : text) {
    const Kind kind = KindOf(c);
    if (kind != last || kind == Kind::kDigit) end_word();
    last = kind;
    if (kind == Kind::kSpace) continue;
    word.emplace_back(1, absl::ascii_tolower(static_cast<unsigned char>(c)));
  }
  end_word();
}

}  // namespace

absl::StatusOr<std::string> LearnMerges(const std::vector<std::string>& texts, size_t max_merges) {
  std::map<Symbols, int64_t> counts;
  for (const std::string& text : texts) {
    for (const char c : text) {
      if (c < ' ' || c > '~') {
        return absl::InvalidArgumentError(absl::StrCat("not printable ASCII: ", text));
      }
    }
    CountWords(text, counts);
  }
  std::vector<std::pair<Symbols, int64_t>> words(counts.begin(), counts.end());

  std::string merges = absl::StrCat(kHeader, "\n");
  for (size_t m = 0; m < max_merges; ++m) {
    // Counting afresh for every merge is fine for the few hundred words of the captions.
    std::map<std::pair<std::string, std::string>, int64_t> pairs;
    for (const auto& [symbols, count] : words) {
      for (size_t i = 0; i + 1 < symbols.size(); ++i) pairs[{symbols[i], symbols[i + 1]}] += count;
    }
    auto best = pairs.end();
    for (auto it = pairs.begin(); it != pairs.end(); ++it) {
      if (best == pairs.end() || it->second > best->second) best = it;
    }
    if (best == pairs.end() || best->second < 2) break;
    const auto [left, right] = best->first;
    absl::StrAppend(&merges, left, " ", right, "\n");
    for (auto& [symbols, count] : words) {
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] += right;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return merges;
}

size_t CountMerges(const std::string& merges_text) {
  size_t count = 0;
  for (const auto line : absl::StrSplit(merges_text, '\n', absl::SkipEmpty())) {
    if (!absl::StartsWith(line, "#version")) ++count;
  }
  return count;
}

}  // namespace reenact
