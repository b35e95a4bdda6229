#include "tests/bench/live_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/client/fake_service.h"
#include "tests/client/subprocess.h"

namespace reenact::bench {
namespace {

using ::testing::Each;
using ::testing::Ge;

LiveOutcome Outcome(std::vector<double> lags, int64_t frames_skipped, double ratio) {
  LiveOutcome outcome;
  outcome.first_frame = lags.at(0);
  outcome.live.set_frames_in(static_cast<int64_t>(lags.size()));
  outcome.live.set_frames_skipped(frames_skipped);
  outcome.live.set_real_time_ratio(ratio);
  outcome.lags = std::move(lags);
  return outcome;
}

TEST(DescribeLiveTest, SumsUpOverTheRuns) {
  LiveOutcome failed = Outcome({100, 100}, 2, 0.1);
  failed.status = absl::InternalError("");

  const Json json = Describe(
      {Outcome({1, 2, 3}, 0, 0.9), Outcome({3, 2, 1}, 3, 1.0), Outcome({2, 2, 2}, 0, 1.1), failed});

  EXPECT_EQ(json["runs"], 4);
  EXPECT_EQ(json["runs_done"], 3);
  EXPECT_EQ(json["frames_out"], 9);
  EXPECT_EQ(json["time_to_first_frame_s"], 2.0);
  EXPECT_EQ(json["lag_p50_s"], 2.0);
  EXPECT_EQ(json["lag_max_s"], 3.0);
  EXPECT_EQ(json["lag_end_s"], 2.0);
  EXPECT_EQ(json["real_time_ratio"], 1.0);
  EXPECT_NEAR(json["skipped_share"].get<double>(), 1.0 / 3, 1e-5);
}

TEST(DescribeLiveTest, NothingThatSucceededIsNoNumber) {
  LiveOutcome failed;
  failed.status = absl::InternalError("");

  const Json json = Describe({failed});

  EXPECT_TRUE(json["lag_p50_s"].is_null());
  EXPECT_TRUE(json["skipped_share"].is_null());
}

TEST(RunLiveTest, SendsFramesAtTheirTimesAndTimesTheirAnswers) {
  const testing::TemporaryFolder folder;
  const std::string target = "unix:" + folder.File("server.sock");
  testing::FakeService service;
  const auto server = testing::StartFakeServer(service, target);
  ASSERT_NE(server, nullptr);
  const auto client = Client::Connect(target, {});
  ASSERT_TRUE(client.ok()) << client.status();
  LiveLoad load;
  // Three frames come back after the last was sent.
  load.config.set_model("frames");
  load.pictures = {"one", "two"};
  load.num_frames = 6;
  load.rate = {.num = 100, .den = 1};

  const LiveOutcome outcome = RunLive(**client, load, nullptr);

  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_THAT(service.pts(), ::testing::ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(service.config().live().time_base().denominator(), 100);
  ASSERT_EQ(outcome.lags.size(), 3u);
  EXPECT_GE(*outcome.first_frame, 0.05) << "the last frame is 50 ms after the first";
  EXPECT_THAT(outcome.lags, Each(Ge(0.03)));
  EXPECT_GE(outcome.seconds, 0.05);
  EXPECT_EQ(outcome.live.frames_in(), 6);
  server->Shutdown();
}

}  // namespace
}  // namespace reenact::bench
