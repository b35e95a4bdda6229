#include "server/answer_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reenact {
namespace {

constexpr int64_t kOverhead = AnswerRing::kAnswerOverheadBytes;

v1::ReenactResponse Video(size_t num_bytes) {
  v1::ReenactResponse answer;
  answer.mutable_video()->set_data(std::string(num_bytes, 'x'));
  return answer;
}

uint64_t Push(AnswerRing& ring, size_t num_bytes) {
  v1::ReenactResponse answer = Video(num_bytes);
  ring.Push(answer);
  return answer.sequence_number();
}

TEST(AnswerRingTest, NumbersAndKeepsAnswers) {
  AnswerRing ring(1 << 20);

  EXPECT_EQ(Push(ring, 1), 0u);
  EXPECT_EQ(Push(ring, 2), 1u);

  EXPECT_EQ(ring.begin(), 0u);
  EXPECT_EQ(ring.end(), 2u);
  EXPECT_EQ(ring.at(1).sequence_number(), 1u);
  EXPECT_EQ(ring.at(1).video().data(), "xx");
  EXPECT_EQ(ring.bytes(), 2 * kOverhead + 3);
}

TEST(AnswerRingTest, TheOldestArePushedOut) {
  AnswerRing ring(2 * kOverhead + 100);
  Push(ring, 50);
  Push(ring, 50);
  EXPECT_EQ(ring.begin(), 0u);

  Push(ring, 1);

  EXPECT_EQ(ring.begin(), 1u);
  EXPECT_EQ(ring.end(), 3u);
  EXPECT_LE(ring.bytes(), 2 * kOverhead + 100);
}

TEST(AnswerRingTest, AnAnswerThatIsTooLargeLeavesNoGap) {
  AnswerRing ring(kOverhead + 100);
  Push(ring, 1);

  Push(ring, 101);

  EXPECT_EQ(ring.begin(), 2u);
  EXPECT_EQ(ring.end(), 2u);
  EXPECT_EQ(ring.bytes(), 0);
  EXPECT_EQ(Push(ring, 100), 2u);
  EXPECT_EQ(ring.begin(), 2u);
}

TEST(AnswerRingTest, WithoutMemoryItOnlyCounts) {
  AnswerRing ring(0);
  Push(ring, 0);
  Push(ring, 0);

  EXPECT_EQ(ring.begin(), 2u);
  EXPECT_EQ(ring.end(), 2u);
}

TEST(AnswerRingTest, DropBeforeForgetsAndNothingElse) {
  AnswerRing ring(1 << 20);
  for (int i = 0; i < 5; ++i) Push(ring, 10);

  ring.DropBefore(3);
  ring.DropBefore(1);

  EXPECT_EQ(ring.begin(), 3u);
  EXPECT_EQ(ring.end(), 5u);
  EXPECT_EQ(ring.bytes(), 2 * (kOverhead + 10));
  ring.DropBefore(5);
  EXPECT_EQ(ring.bytes(), 0);
  EXPECT_EQ(Push(ring, 1), 5u);
}

}  // namespace
}  // namespace reenact
