// The tokenizer: merges, a NUL, then a text to encode with them.
#include "pipeline/models/clip_tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {

std::vector<std::string> Seeds() {
  const std::string merges = "#version: 0.2\nh e\nl l\no</w> w\nhe ll\nhell o</w>\n";
  using namespace std::string_literals;  // the NULs count
  return {merges + "\0"s + "hello world, it's 42 o'clock"s,
          merges + "\0"s + "Grüße <|endoftext|> \xF0\x9F\x98\x80 don't"s, "\0just text"s};
}

void Run(std::string_view input) {
  const size_t end = input.find('\0');
  const std::string_view merges = input.substr(0, end);
  // The service accepts no longer text; encoding is quadratic in the longest word.
  const std::string_view text =
      end == std::string_view::npos ? "" : input.substr(end + 1).substr(0, 4096);
  const auto tokenizer = ClipTokenizer::FromMerges(merges, 1000);
  if (!tokenizer.ok()) return RequireRefusal(tokenizer.status());
  const std::vector<int64_t> ids = tokenizer->Encode(text);
  Require(ids.size() == ClipTokenizer::kLength, "there are always 77 ids");
  Require(ids.front() == tokenizer->start_id(), "the first id is the start");
  for (const int64_t id : ids) {
    Require(id >= 0 && id < tokenizer->vocab_size(), "ids are in the vocabulary");
  }
}

}  // namespace reenact::fuzz
