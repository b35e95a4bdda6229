// CLIP's byte-pair tokenizer, with the results of transformers' CLIPTokenizer (not openai/CLIP's,
// which also repairs mis-decoded text and unescapes HTML). Immutable after FromMerges, so
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

class ClipTokenizer {
 public:
  // The length of every result: the context of CLIP's text tower.
  static constexpr size_t kLength = 77;

  // `merges_text`: the content of merges.txt, one "left right" per line, most frequent first, after
  // an optional line that contains "#version". Lines beyond the first `max_merges` are ignored
  // (the public vocabulary uses 48,894). kInvalidArgument names the first bad line.
  static absl::StatusOr<ClipTokenizer> FromMerges(std::string_view merges_text, size_t max_merges);

  // kLength ids: start, the text, end, and end again as padding. A text that is too long is cut,
  // the end kept, and `*truncated` set (it may be null). Bytes that are not UTF-8 count as U+FFFD.
  // Takes time up to the square of the longest word: the caller bounds `text`.
  std::vector<int64_t> Encode(std::string_view text, bool* truncated = nullptr) const;

  int64_t vocab_size() const { return end_id_ + 1; }
  int64_t start_id() const { return end_id_ - 1; }
  int64_t end_id() const { return end_id_; }

 private:
  struct Merge {
    size_t rank;
    int64_t id;
  };
  ClipTokenizer() = default;

  // Appends the ids of one word (its UTF-8 bytes).
  void EncodeWord(std::string_view word, std::vector<int64_t>* ids) const;
  // Appends the ids of text that holds no special token, until there are `limit` or more.
  void EncodePlain(std::string_view text, size_t limit, std::vector<int64_t>* ids) const;

  std::unordered_map<uint64_t, Merge> merges_;  // by (left id << 32) | right id
  int64_t byte_ids_[256] = {};                  // of a byte inside a word; + 256 at its end
  int64_t end_id_ = 0;
};

}  // namespace reenact
