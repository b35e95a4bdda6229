#include "pipeline/compose/colour_transfer.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace reenact {
namespace {

// Colours of all kinds, changed by `truth` on the way to the generated picture: the transfer has to
// undo it.
std::vector<ColourPair> Pairs(const ColourTransfer& truth, int count, float noise) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> level(60, 190);
  std::normal_distribution<float> error(0, noise);
  std::vector<ColourPair> pairs;
  for (int i = 0; i < count; ++i) {
    ColourPair pair;
    for (int c = 0; c < 3; ++c) {
      pair.generated[c] = level(random);
      pair.original[c] = static_cast<float>(truth.gain[c] * pair.generated[c] + truth.offset[c]) +
                         (noise > 0 ? error(random) : 0);
    }
    pairs.push_back(pair);
  }
  return pairs;
}

constexpr ColourTransfer kTruth = {{1.2, 0.85, 1}, {-20, 12, 5}};

void ExpectNear(const ColourTransfer& actual, const ColourTransfer& expected, double gain,
                double level) {
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(actual.gain[c], expected.gain[c], gain) << "channel " << c;
    // The colours lie around this one.
    EXPECT_NEAR(actual.gain[c] * 125 + actual.offset[c],
                expected.gain[c] * 125 + expected.offset[c], level)
        << "channel " << c;
  }
}

TEST(ColourTransferTest, EqualColoursGiveExactlyNoChange) {
  std::vector<ColourPair> pairs = Pairs({}, 300, 0);

  const ColourTransfer transfer = EstimateTransfer(pairs);

  for (int c = 0; c < 3; ++c) {
    EXPECT_EQ(transfer.gain[c], 1);
    EXPECT_EQ(transfer.offset[c], 0);
  }
}

TEST(ColourTransferTest, FindsGainAndOffset) {
  // The prior pulls the gain a little towards 1.
  ExpectNear(EstimateTransfer(Pairs(kTruth, 500, 0)), kTruth, 0.01, 0.1);
  ExpectNear(EstimateTransfer(Pairs(kTruth, 500, 4)), kTruth, 0.03, 0.8);
}

TEST(ColourTransferTest, LeavesOutPairsThatShowDifferentThings) {
  std::vector<ColourPair> pairs = Pairs(kTruth, 500, 2);
  // Hair before background, a quarter of the places.
  for (size_t i = 0; i < pairs.size(); i += 4) pairs[i].original = {20, 15, 10};

  ExpectNear(EstimateTransfer(pairs), kTruth, 0.04, 1.5);
}

TEST(ColourTransferTest, OneEvenBackgroundDoesNotOutvoteAFace) {
  std::vector<ColourPair> pairs = Pairs(kTruth, 200, 1);
  for (int i = 0; i < 400; ++i) {
    ColourPair pair;
    for (int c = 0; c < 3; ++c) {
      pair.generated[c] = 140;
      pair.original[c] = static_cast<float>(kTruth.gain[c] * 140 + kTruth.offset[c]);
    }
    pairs.push_back(pair);
  }

  ExpectNear(EstimateTransfer(pairs), kTruth, 0.04, 1);
}

TEST(ColourTransferTest, ColoursAtTheEndOfTheRangeAreNotEvidence) {
  std::vector<ColourPair> pairs = Pairs(kTruth, 200, 1);
  // A white wall that was cut off at 255.
  for (int i = 0; i < 400; ++i) pairs.push_back({{255, 255, 255}, {238, 238, 238}, 1});

  ExpectNear(EstimateTransfer(pairs), kTruth, 0.04, 1);
}

TEST(ColourTransferTest, TooFewPairsChangeNothing) {
  const ColourTransfer transfer = EstimateTransfer(Pairs(kTruth, 15, 0));

  EXPECT_EQ(transfer.gain[0], 1);
  EXPECT_EQ(transfer.offset[0], 0);
}

TEST(ColourTransferTest, GainsStayInBounds) {
  const ColourTransfer transfer = EstimateTransfer(Pairs({{4, 0.1, 1}, {-380, 100, 0}}, 300, 0));

  EXPECT_EQ(transfer.gain[0], 1.6);
  EXPECT_EQ(transfer.gain[1], 0.6);
}

TEST(ColourTransferTest, ScalesAndMixes) {
  const ColourTransfer half = ScaleTransfer(kTruth, 0.5);
  EXPECT_DOUBLE_EQ(half.gain[0], 1.1);
  EXPECT_DOUBLE_EQ(half.offset[1], 6);

  const ColourTransfer mixed = MixTransfers(kTruth, {}, 0.9);
  EXPECT_DOUBLE_EQ(mixed.gain[1], 1 - 0.15 * 0.9);
  EXPECT_DOUBLE_EQ(mixed.offset[0], -18);
}

}  // namespace
}  // namespace reenact
