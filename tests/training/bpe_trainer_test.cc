#include "training/bpe_trainer.h"

#include <gtest/gtest.h>

#include <set>

#include "pipeline/models/clip_tokenizer.h"
#include "training/people/people.h"

namespace reenact {
namespace {

std::vector<std::string> Captions() {
  std::vector<std::string> captions;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    for (uint64_t phrasing = 0; phrasing < 3; ++phrasing) {
      captions.push_back(Caption(MakePerson(seed), phrasing));
    }
  }
  return captions;
}

TEST(BpeTrainerTest, MergesTheMostFrequentPairFirst) {
  // "ab" occurs 4 times, "bc" twice; at equal counts the alphabet decides.
  const auto merges = LearnMerges({"abc abc abd abd"}, 2);

  ASSERT_TRUE(merges.ok()) << merges.status();
  EXPECT_EQ(*merges, "#version: 0.2\na b\nab c</w>\n");
  EXPECT_EQ(CountMerges(*merges), 2u);
}

TEST(BpeTrainerTest, PairsThatOccurOnceAreNotMerged) {
  const auto merges = LearnMerges({"ab cd"}, 10);

  ASSERT_TRUE(merges.ok());
  EXPECT_EQ(CountMerges(*merges), 0u);
}

TEST(BpeTrainerTest, TokenizerReadsTheVocabularyAndKeepsCaptionsShort) {
  const std::vector<std::string> captions = Captions();
  const auto merges = LearnMerges(captions, 600);
  ASSERT_TRUE(merges.ok()) << merges.status();

  const auto tokenizer = ClipTokenizer::FromMerges(*merges, 600);

  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->vocab_size(), 512 + static_cast<int64_t>(CountMerges(*merges)) + 2);
  for (const std::string& caption : captions) {
    bool truncated = true;
    const std::vector<int64_t> ids = tokenizer->Encode(caption, &truncated);
    EXPECT_FALSE(truncated) << caption;
  }
}

TEST(BpeTrainerTest, DifferentCaptionsHaveDifferentIds) {
  const std::vector<std::string> captions = Captions();
  const auto tokenizer = ClipTokenizer::FromMerges(*LearnMerges(captions, 600), 600);
  ASSERT_TRUE(tokenizer.ok());

  std::set<std::vector<int64_t>> ids;
  for (const std::string& caption : captions) ids.insert(tokenizer->Encode(caption));

  EXPECT_EQ(ids.size(), std::set<std::string>(captions.begin(), captions.end()).size());
}

TEST(BpeTrainerTest, RefusesWhatTheGrammarNeverMakes) {
  EXPECT_EQ(LearnMerges({"caf\xC3\xA9"}, 10).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reenact
