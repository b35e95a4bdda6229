#include "training/caption_neighbours.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace reenact {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::UnorderedElementsAre;

const std::vector<std::vector<std::string>>& Captions() {
  static const std::vector<std::vector<std::string>> captions = {
      {"an old man, red hair, a blue shirt, round glasses", "ignored"},
      {"an old man, red hair, a blue shirt, no glasses"},
      {"an old man, blue hair, a red shirt, thin spectacles"},
      {"young woman with fair skin"},
      {},
  };
  return captions;
}

TEST(CaptionNeighboursTest, GivesThePersonAndThoseDescribedAlike) {
  const CaptionNeighbours neighbours(Captions());
  std::mt19937_64 random(7);
  int alike = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<bool> taken(5);
    const auto drawn = neighbours.Draw(0, 2, random, taken);
    ASSERT_EQ(drawn.size(), 2u);
    EXPECT_EQ(drawn[0], 0);
    alike += drawn[1] == 1 ? 1 : 0;
  }
  // Who has the colours the other way round shares fewer terms, but is drawn too: when the half of
  // the terms that counts is about neither.
  EXPECT_GT(alike, 130);
  EXPECT_LT(alike, 200);
}

TEST(CaptionNeighboursTest, LeavesOutWhoIsTakenAndMarksWhomItReturns) {
  const CaptionNeighbours neighbours(Captions());
  std::mt19937_64 random(7);
  std::vector<bool> taken = {false, true, false, false, false};

  const auto drawn = neighbours.Draw(0, 3, random, taken);

  EXPECT_THAT(drawn, Not(Contains(1)));
  EXPECT_EQ(std::set<int64_t>(drawn.begin(), drawn.end()).size(), 3u);
  for (const int64_t person : drawn) EXPECT_TRUE(taken[person]);
  EXPECT_EQ(std::count(taken.begin(), taken.end(), true), 4);
}

TEST(CaptionNeighboursTest, EverybodyMayBeAskedForEvenWithoutCaptions) {
  const CaptionNeighbours neighbours(Captions());
  std::mt19937_64 random(7);
  std::vector<bool> taken(5);

  EXPECT_THAT(neighbours.Draw(4, 5, random, taken), UnorderedElementsAre(0, 1, 2, 3, 4));
  std::vector<bool> again(5);
  EXPECT_THAT(neighbours.Draw(2, 1, random, again), ElementsAre(2));
}

}  // namespace
}  // namespace reenact
