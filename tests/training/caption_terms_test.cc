#include "training/caption_terms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace reenact {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

TEST(CaptionTermsTest, ArePairsOfWordsWithinAnItem) {
  EXPECT_THAT(
      CaptionTerms("red hair, a red shirt and stubble; long red hair"),
      ElementsAre(" a", " long", " red", " stubble", "a red", "long red", "red hair", "red shirt"));
  EXPECT_THAT(CaptionTerms(" , and"), IsEmpty());
}

TEST(TabulateTermsTest, HoldsWhatThePersonsFirstCaptionNames) {
  const TermTable table = TabulateTerms({{"red hair, a hat", "a coat"}, {"blue hair"}, {}});

  EXPECT_THAT(table.terms, ElementsAre(" a", " blue", " red", "a hat", "blue hair", "red hair"));
  EXPECT_TRUE(torch::equal(table.holds, torch::tensor({{1.f, 0.f, 1.f, 1.f, 0.f, 1.f},
                                                       {0.f, 1.f, 0.f, 0.f, 1.f, 0.f},
                                                       {0.f, 0.f, 0.f, 0.f, 0.f, 0.f}})));
}

TEST(TabulateTermsTest, LeavesOutWhatHoldsForNearlyNobodyOrNearlyEverybody) {
  std::vector<std::vector<std::string>> captions(200, {"skin"});
  captions[0] = {"skin, freckles"};
  for (int p = 1; p < 4; ++p) captions[p] = {"skin, stubble"};

  const TermTable table = TabulateTerms(captions);

  EXPECT_THAT(table.terms, ElementsAre(" stubble"));
  EXPECT_THAT(table.terms, Not(Contains(" freckles")));
  EXPECT_EQ(TabulateTerms({}).terms.size(), 0u);
}

}  // namespace
}  // namespace reenact
