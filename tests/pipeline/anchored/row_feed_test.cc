#include "pipeline/anchored/row_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>
#include <vector>

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);
absl::Time At(int milliseconds) { return kStart + absl::Milliseconds(milliseconds); }

std::vector<int> Frames(const std::optional<std::vector<RowSlot>>& row) {
  std::vector<int> frames;
  if (row.has_value()) {
    for (const RowSlot& slot : *row) frames.push_back(slot.frame);
  }
  return frames;
}

TEST(RowFeed, RowsOfAFileAreThoseOfTheWholePlan) {
  for (const int t : {1, 2, 3, 5, 8}) {
    for (int n = 1; n <= 40; ++n) {
      SCOPED_TRACE(::testing::Message() << n << " frames, T=" << t);
      const auto whole = PlanRows(n, t, SequencePlan::kContiguous, 0);
      RowFeed feed(t, std::nullopt);
      std::vector<std::vector<RowSlot>> rows;
      const auto take = [&] {
        while (auto row = feed.NextRow(kStart, 100)) rows.push_back(*row);
      };
      for (int frame = 0; frame < n; ++frame) {
        feed.AddFrame(kStart);
        take();
        EXPECT_LT(feed.num_waiting(), t);
      }
      feed.Finish();
      take();
      EXPECT_TRUE(feed.done());
      EXPECT_THAT(feed.TakeSkipped(), IsEmpty());
      ASSERT_EQ(rows.size(), whole->rows.size());
      for (size_t b = 0; b < rows.size(); ++b) EXPECT_EQ(Frames(rows[b]), Frames(whole->rows[b]));
      EXPECT_EQ(feed.plan().anchor_slot, whole->anchor_slot);
      EXPECT_EQ(feed.plan().anchor_frame, whole->anchor_frame);
      EXPECT_EQ(feed.num_padding_slots(), whole->num_padding_slots);
    }
  }
}

TEST(RowFeed, LiveSkipsEvenlyWhatWaitsTooLong) {
  RowFeed feed(4, LiveOptions());
  for (int frame = 0; frame < 4; ++frame) feed.AddFrame(At(0));
  EXPECT_THAT(Frames(feed.NextRow(At(0), 0)), ElementsAre(0, 1, 2, 3));
  // While a row is under way the others wait.
  for (int frame = 4; frame < 11; ++frame) feed.AddFrame(At(frame));
  EXPECT_FALSE(feed.NextRow(At(20), 1).has_value());
  EXPECT_THAT(Frames(feed.NextRow(At(20), 0)), ElementsAre(6, 8, 2, 10));
  EXPECT_THAT(feed.TakeSkipped(), ElementsAre(4, 5, 7, 9));
  EXPECT_THAT(feed.TakeSkipped(), IsEmpty());
  EXPECT_EQ(feed.num_waiting(), 0);
}

TEST(RowFeed, ALiveRowIsNotHeldUpByMissingFrames) {
  LiveOptions live;
  live.max_wait = absl::Milliseconds(100);
  for (const SkipPolicy skip : {SkipPolicy::kSkip, SkipPolicy::kWait}) {
    live.skip = skip;
    RowFeed feed(4, live);
    for (int frame = 0; frame < 3; ++frame) feed.AddFrame(At(0));
    // The anchor row waits for all its frames.
    EXPECT_FALSE(feed.NextRow(At(500), 0).has_value());
    feed.AddFrame(At(500));
    EXPECT_TRUE(feed.NextRow(At(500), 0).has_value());
    feed.AddFrame(At(600));
    EXPECT_FALSE(feed.NextRow(At(699), 0).has_value());
    EXPECT_FALSE(feed.NextRow(At(700), 1).has_value()) << "there is other work";
    EXPECT_THAT(Frames(feed.NextRow(At(700), 0)), ElementsAre(4, 4, 2, 4));
    feed.AddFrame(At(710));
    EXPECT_FALSE(feed.done());
    feed.Finish();
    EXPECT_THAT(Frames(feed.NextRow(At(711), 0)), ElementsAre(5, 5, 2, 5));
    EXPECT_TRUE(feed.done());
  }
}

TEST(RowFeed, LiveWithoutSkippingUsesEveryFrame) {
  LiveOptions live;
  live.skip = SkipPolicy::kWait;
  RowFeed feed(4, live);
  for (int frame = 0; frame < 11; ++frame) feed.AddFrame(At(0));
  EXPECT_THAT(Frames(feed.NextRow(At(0), 0)), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Frames(feed.NextRow(At(0), 1)), ElementsAre(4, 5, 2, 6));
  EXPECT_THAT(Frames(feed.NextRow(At(0), 2)), ElementsAre(7, 8, 2, 9));
  EXPECT_FALSE(feed.NextRow(At(0), 3).has_value());
  EXPECT_EQ(feed.num_waiting(), 1);
}

// Whatever comes when: each frame is in one row or skipped, and rows are in order.
TEST(RowFeed, EveryFrameEndsUpSomewhereOnce) {
  std::mt19937 random(7);
  const auto draw = [&random](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (int run = 0; run < 500; ++run) {
    LiveOptions live;
    live.skip = draw(0, 1) == 0 ? SkipPolicy::kSkip : SkipPolicy::kWait;
    live.max_wait = absl::Milliseconds(draw(0, 50));
    const int t = draw(1, 9), n = draw(1, 60);
    RowFeed feed(t, live);
    std::vector<int> times(static_cast<size_t>(n), 0);
    int now = 0, last = -1, open = 0;
    const auto take = [&] {
      while (const auto row = feed.NextRow(At(now), open)) {
        ++open;
        for (size_t k = 0; k < row->size(); ++k) {
          if ((*row)[k].duplicate) continue;
          ++times[(*row)[k].frame];
          EXPECT_GT((*row)[k].frame, last);
          last = (*row)[k].frame;
        }
      }
      for (const int frame : feed.TakeSkipped()) ++times[frame];
    };
    while (feed.num_frames() < n) {
      now += draw(0, 20);
      feed.AddFrame(At(now));
      if (draw(0, 2) == 0) open = 0;
      take();
    }
    feed.Finish();
    while (!feed.done()) {
      open = 0;
      take();
    }
    EXPECT_THAT(times, ::testing::Each(1));
    if (live.skip == SkipPolicy::kWait) {
      EXPECT_EQ(last, n - 1);
    }
  }
}

}  // namespace
}  // namespace reenact
