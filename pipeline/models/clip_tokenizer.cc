#include "pipeline/models/clip_tokenizer.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr std::string_view kStartText = "<|startoftext|>";
constexpr std::string_view kEndText = "<|endoftext|>";
constexpr std::string_view kEndOfWord = "</w>";
constexpr size_t kNumBytes = 256;

// Byte-pair vocabularies are text, so each byte has a printable character: itself if it is
// printable in Latin-1, else the next free one from U+0100. The vocabulary begins with these
// characters in the order of their code points, that is, the printable bytes first.
struct ByteAlphabet {
  std::array<std::string, kNumBytes> character;  // UTF-8
  std::array<int64_t, kNumBytes> id;
};

std::string Utf8(UChar32 code_point) {
  std::string result;
  icu::UnicodeString(code_point).toUTF8String(result);
  return result;
}

ByteAlphabet MakeByteAlphabet() {
  const auto printable = [](int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  };
  ByteAlphabet alphabet;
  int64_t id = 0;
  for (int byte = 0; byte < static_cast<int>(kNumBytes); ++byte) {
    if (!printable(byte)) continue;
    alphabet.character[byte] = Utf8(byte);
    alphabet.id[byte] = id++;
  }
  UChar32 next = 256;
  for (int byte = 0; byte < static_cast<int>(kNumBytes); ++byte) {
    if (printable(byte)) continue;
    alphabet.character[byte] = Utf8(next++);
    alphabet.id[byte] = id++;
  }
  return alphabet;
}

uint64_t PairKey(int64_t left, int64_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
}

// \p{L} and \p{N} of the reference's pattern, and its \s.
enum class Class { kLetter, kNumber, kSpace, kOther };
Class ClassOf(UChar32 c) {
  const uint32_t mask = U_GET_GC_MASK(c);
  if (mask & U_GC_L_MASK) return Class::kLetter;
  if (mask & U_GC_N_MASK) return Class::kNumber;
  if (u_isUWhiteSpace(c)) return Class::kSpace;
  return Class::kOther;
}

// NFC, then each character in lower case by itself (so that a final sigma stays a plain one).
icu::UnicodeString NormalizeText(std::string_view text) {
  const auto utf16 = icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(error);
  const icu::UnicodeString composed = U_SUCCESS(error) ? nfc->normalize(utf16, error) : utf16;
  icu::UnicodeString lower;
  for (int32_t i = 0; i < composed.length(); i = composed.moveIndex32(i, 1)) {
    lower.append(icu::UnicodeString(composed.char32At(i)).toLower(icu::Locale::getRoot()));
  }
  return lower;
}

// The length of the contraction ('s, 't, 're, ...) at `i`, or 0.
int32_t ContractionAt(const icu::UnicodeString& text, int32_t i) {
  if (text.charAt(i) != u'\'') return 0;
  const char16_t first = text.charAt(i + 1), second = text.charAt(i + 2);
  if (first == u's' || first == u't' || first == u'm' || first == u'd') return 2;
  const bool pair = (first == u'r' && second == u'e') || (first == u'v' && second == u'e') ||
                    (first == u'l' && second == u'l');
  return pair ? 3 : 0;
}

// The end of the word that begins at `i`, which is no space.
int32_t WordEnd(const icu::UnicodeString& text, int32_t i) {
  if (const int32_t length = ContractionAt(text, i); length > 0) return i + length;
  const Class kind = ClassOf(text.char32At(i));
  int32_t end = text.moveIndex32(i, 1);
  if (kind == Class::kNumber) return end;  // numbers are single characters
  while (end < text.length() && ClassOf(text.char32At(end)) == kind) end = text.moveIndex32(end, 1);
  return end;
}

}  // namespace

absl::StatusOr<ClipTokenizer> ClipTokenizer::FromMerges(std::string_view merges_text,
                                                        size_t max_merges) {
  const ByteAlphabet alphabet = MakeByteAlphabet();
  ClipTokenizer tokenizer;
  std::unordered_map<std::string, int64_t> ids;
  for (size_t byte = 0; byte < kNumBytes; ++byte) {
    tokenizer.byte_ids_[byte] = alphabet.id[byte];
    ids[alphabet.character[byte]] = alphabet.id[byte];
    ids[absl::StrCat(alphabet.character[byte], std::string(kEndOfWord))] =
        alphabet.id[byte] + static_cast<int64_t>(kNumBytes);
  }

  size_t num_merges = 0, line_number = 0;
  while (!merges_text.empty() && num_merges < max_merges) {
    const size_t end = std::min(merges_text.find('\n'), merges_text.size());
    std::string_view line = merges_text.substr(0, end);
    merges_text.remove_prefix(std::min(end + 1, merges_text.size()));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line_number == 1 && line.find("#version") != std::string_view::npos) continue;
    if (line.empty() && merges_text.empty()) break;
    const auto invalid = [&](const char* problem) {
      return absl::InvalidArgumentError(absl::StrCat("merges, line ", line_number, ": ", problem));
    };
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      return invalid("not two symbols");
    }
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    const auto left_id = ids.find(left), right_id = ids.find(right);
    if (left_id == ids.end() || right_id == ids.end()) {
      return invalid("a symbol that no line above makes");
    }
    const int64_t id = static_cast<int64_t>(2 * kNumBytes + num_merges);
    const uint64_t key = PairKey(left_id->second, right_id->second);
    if (!tokenizer.merges_.emplace(key, Merge{.rank = num_merges, .id = id}).second) {
      return invalid("the same pair as above");
    }
    ids.emplace(left + right, id);
    ++num_merges;
  }
  tokenizer.end_id_ = static_cast<int64_t>(2 * kNumBytes + num_merges) + 1;
  return tokenizer;
}

void ClipTokenizer::EncodeWord(std::string_view word, std::vector<int64_t>* ids) const {
  std::vector<int64_t> symbols;
  for (const char c : word) symbols.push_back(byte_ids_[static_cast<uint8_t>(c)]);
  symbols.back() += static_cast<int64_t>(kNumBytes);  // the byte at the end of a word
  while (symbols.size() > 1) {
    std::optional<Merge> best;
    uint64_t best_key = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const uint64_t key = PairKey(symbols[i], symbols[i + 1]);
      const auto merge = merges_.find(key);
      if (merge != merges_.end() && (!best.has_value() || merge->second.rank < best->rank)) {
        best = merge->second;
        best_key = key;
      }
    }
    if (!best.has_value()) break;
    size_t kept = 0;
    for (size_t i = 0; i < symbols.size(); ++i) {
      if (i + 1 < symbols.size() && PairKey(symbols[i], symbols[i + 1]) == best_key) {
        symbols[kept++] = best->id;
        ++i;
      } else {
        symbols[kept++] = symbols[i];
      }
    }
    symbols.resize(kept);
  }
  ids->insert(ids->end(), symbols.begin(), symbols.end());
}

void ClipTokenizer::EncodePlain(std::string_view text, size_t limit,
                                std::vector<int64_t>* ids) const {
  const icu::UnicodeString normalized = NormalizeText(text);
  for (int32_t i = 0; i < normalized.length() && ids->size() < limit;) {
    if (ClassOf(normalized.char32At(i)) == Class::kSpace) {
      i = normalized.moveIndex32(i, 1);
      continue;
    }
    const int32_t end = WordEnd(normalized, i);
    std::string word;
    normalized.tempSubStringBetween(i, end).toUTF8String(word);
    EncodeWord(word, ids);
    i = end;
  }
}

std::vector<int64_t> ClipTokenizer::Encode(std::string_view text, bool* truncated) const {
  // No text needs more than its start, kLength tokens and its end to be known as too long.
  constexpr size_t kLimit = kLength + 1;
  std::vector<int64_t> ids = {start_id()};
  while (!text.empty() && ids.size() < kLimit) {
    const size_t start = text.find(kStartText), end = text.find(kEndText);
    const size_t special = std::min(start, end);
    EncodePlain(text.substr(0, special), kLimit, &ids);
    if (special == std::string_view::npos) break;
    ids.push_back(special == start ? start_id() : end_id());
    text.remove_prefix(special + (special == start ? kStartText : kEndText).size());
  }
  ids.push_back(end_id());
  if (truncated != nullptr) *truncated = ids.size() > kLength;
  if (ids.size() > kLength) ids[kLength - 1] = end_id();
  ids.resize(kLength, end_id());
  return ids;
}

}  // namespace reenact
