#include "eval/clip_record.h"

#include <cstddef>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "eval/summary.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reenact {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// No number of it has an exact decimal form of few digits.
ClipMeasures Measures() {
  ClipMeasures clip;
  clip.index = 7;
  for (int i = 1; i <= 4; ++i) {
    FrameMeasures frame;
    frame.truth = {{i / 3.0, i / 7.0, i / 11.0}, i / 13.0, i / 17.0};
    if (i != 2) frame.found = {{i / 3.1, i / 7.1, i / 11.1}, i / 13.1, i / 17.1};
    frame.landmark_error = i / 19.0;
    frame.lmse = 1e-7 * i / 23.0;
    frame.psnr = i == 1 ? kInfinity : i * 29.0 / 3;  // equal pictures
    if (i != 3) frame.hair = i / 31.0;
    clip.frames.push_back(frame);
    clip.embeddings.push_back({static_cast<float>(i) / 3, -1e-20f, 0.1f});
  }
  clip.csim = 1.0 / 3;
  clip.self_csim = -1.0 / 7;
  clip.flicker = 5e-324;
  return clip;
}

ClipRecord Record() {
  ClipRecord record;
  record.index = 7;
  record.outcomes.resize(2);
  record.outcomes[0].measures = Measures();
  record.outcomes[0].sample = {2, 1, {0, 1, 2, 253, 254, 255}};
  record.outcomes[1].failure = "no face in \"portrait\"\n\xff";
  record.true_frames = {{0.1f, 0.2f}, {0.3f, 0.4f}};
  return record;
}

TEST(ClipRecordTest, ComesBackToTheBit) {
  const ClipRecord record = Record();

  const auto line = ToLine(record);
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->find('\n'), std::string::npos);
  const auto back = ClipRecordFromLine(*line);

  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->index, 7);
  EXPECT_EQ(back->true_frames, record.true_frames);
  ASSERT_EQ(back->outcomes.size(), 2u);
  EXPECT_EQ(back->outcomes[0].sample.width, 2);
  EXPECT_EQ(back->outcomes[0].sample.rgb, record.outcomes[0].sample.rgb);
  ASSERT_TRUE(back->outcomes[0].measures.has_value());
  EXPECT_EQ(back->outcomes[0].measures->index, 7);
  EXPECT_EQ(back->outcomes[0].measures->embeddings, record.outcomes[0].measures->embeddings);
  EXPECT_EQ(back->outcomes[0].measures->frames[0].psnr, kInfinity);
  EXPECT_FALSE(back->outcomes[0].measures->frames[1].found.has_value());
  EXPECT_FALSE(back->outcomes[0].measures->frames[2].hair.has_value());
  EXPECT_FALSE(back->outcomes[1].measures.has_value());
  EXPECT_TRUE(back->outcomes[1].sample.empty());
  EXPECT_THAT(back->outcomes[1].failure, ::testing::StartsWith("no face in \"portrait\"\n"));
  // Written again it is the same text, so no number has changed.
  EXPECT_EQ(*ToLine(*back), *line);
}

TEST(ClipRecordTest, AllThatTheTableShowsIsKept) {
  const ClipRecord record = Record();
  const auto back = ClipRecordFromLine(*ToLine(record));
  ASSERT_TRUE(back.ok()) << back.status();

  const auto before = Summarise({&*record.outcomes[0].measures, 1}, true),
             after = Summarise({&*back->outcomes[0].measures, 1}, true);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].value, after[i].value) << before[i].key;
  }
}

TEST(ClipRecordTest, RefusesWhatItDidNotWrite) {
  for (
      const char* line :
      {"", "x", "{}", "[]", R"({"clip":1,"outcomes":[],"true_frames":"x"})",
       R"({"clip":1,"outcomes":[{"sample":"?"}],"true_frames":[]})",
       R"({"clip":1,"outcomes":[{"sample":"AAAA"}],"true_frames":[]})",
       R"({"clip":1,"outcomes":[{"measures":{"csim":null,"frames":[],"embeddings":[]}}],"true_frames":[]})",
       R"({"clip":1,"outcomes":[{"measures":{"csim":"big","frames":[],"embeddings":[]}}],"true_frames":[]})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ClipRecordFromLine(line).status())) << line;
  }
}

}  // namespace
}  // namespace reenact
