// The public merges: the data folder's bpe_simple_vocab_16e6.txt.gz.
#include <zlib.h>

#include <fstream>
#include <stdexcept>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "pipeline/models/clip_tokenizer.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

constexpr size_t kPublicMerges = 48894;

std::string Gunzip(const std::string& path) {
  std::string content;
  gzFile file = gzopen(path.c_str(), "rb");
  char buffer[1 << 16];
  int n = 0;
  while (file != nullptr && (n = gzread(file, buffer, sizeof(buffer))) > 0) {
    content.append(buffer, static_cast<size_t>(n));
  }
  if (file == nullptr || n < 0) throw std::runtime_error("cannot read " + path);
  gzclose(file);
  return content;
}

// Equal to transformers' column in every case.
TEST(ClipTokensGoldenTest, EqualTheReference) {
  REENACT_REQUIRE_DATA();
  const auto files = testing::FilesWithPrefix(testing::GoldenDir(), "clip_tokens", ".json");
  if (files.empty()) {
    if (testing::MustHaveData()) FAIL() << "no golden files clip_tokens*.json";
    GTEST_SKIP() << "no golden files clip_tokens*.json";
  }
  const auto tokenizer = ClipTokenizer::FromMerges(
      Gunzip(testing::DataDir() + "/CLIP/bpe_simple_vocab_16e6.txt.gz"), kPublicMerges);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->vocab_size(), 49408);
  for (const std::string& path : files) {
    const auto json = nlohmann::json::parse(testing::ReadFile(path));
    ASSERT_FALSE(json.at("cases").empty());
    for (const auto& entry : json.at("cases")) {
      const std::string text = entry.at("text");
      SCOPED_TRACE(path + ": \"" + text + "\"");
      bool truncated = false;

      const auto ids = tokenizer->Encode(text, &truncated);

      EXPECT_EQ(ids, entry.at("ids").get<std::vector<int64_t>>());
      if (!truncated) {
        // Where the text ends, as the reference counts: start and end included.
        const size_t length = entry.at("length");
        ASSERT_LE(length, ids.size());
        EXPECT_EQ(ids[length - 1], tokenizer->end_id());
      }
      if (entry.at("same_in_openai").get<bool>()) {
        EXPECT_EQ(truncated, entry.at("untruncated_length_openai").get<size_t>() > ids.size());
      }
    }
  }
}

}  // namespace
}  // namespace reenact
