#include "tests/bench/load.h"

#include <algorithm>
#include <set>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reenact::bench {
namespace {

LoadMix Mix() {
  LoadMix mix;
  mix.num_frames = {8, 30};
  mix.num_steps = {4, 10, std::nullopt};
  mix.samplers = {v1::SAMPLER_DDIM, v1::SAMPLER_DDPM};
  return mix;
}

TEST(MakeJobsTest, EveryCombinationComesEquallyOften) {
  const auto jobs = MakeJobs(Mix(), 24, 1);

  std::multiset<std::pair<int, int>> seen;
  std::set<uint64_t> seeds;
  for (const LoadJob& job : jobs) {
    seen.insert({job.num_frames, job.num_steps.value_or(0) * 10 + job.sampler});
    seeds.insert(job.seed);
  }

  EXPECT_EQ(seeds.size(), 24u);  // no two jobs are the same
  for (const auto& combination : seen) EXPECT_EQ(seen.count(combination), 2u);
}

TEST(MakeJobsTest, SharesAreExactAndDisjoint) {
  LoadMix mix = Mix();
  mix.cancel_share = 0.25;
  mix.slow_reader_share = 0.5;

  const auto jobs = MakeJobs(mix, 40, 7);

  int cancelled = 0, slow = 0;
  for (const LoadJob& job : jobs) {
    cancelled += job.cancel_at.has_value() ? 1 : 0;
    slow += job.slow_reader ? 1 : 0;
    EXPECT_FALSE(job.cancel_at.has_value() && job.slow_reader);
  }
  EXPECT_EQ(cancelled, 10);
  EXPECT_EQ(slow, 20);
}

TEST(MakeJobsTest, IsAFunctionOfTheSeed) {
  LoadMix mix = Mix();
  mix.cancel_share = 0.5;
  const auto cancelled = [&mix](uint64_t seed) {
    std::vector<double> at;
    for (const LoadJob& job : MakeJobs(mix, 20, seed)) at.push_back(job.cancel_at.value_or(-1));
    return at;
  };

  EXPECT_EQ(cancelled(3), cancelled(3));
  EXPECT_NE(cancelled(3), cancelled(4));
}

LoadOutcome Done(double start, double first, double end) {
  LoadOutcome outcome;
  outcome.start = start;
  outcome.first_frame = first;
  outcome.end = end;
  outcome.num_frames = 8;
  outcome.bytes = 1000;
  return outcome;
}

TEST(DescribeTest, CountsAddUp) {
  LoadResult result;
  result.outcomes = {Done(0, 1, 2), Done(0, 1.5, 4), Done(2, 2.5, 5)};
  LoadOutcome cancelled = Done(1, 2, 6);
  cancelled.status = absl::CancelledError("by the client");
  cancelled.cancelled = 5.5;
  result.outcomes.push_back(cancelled);
  LoadOutcome refused = Done(3, 3, 3);
  refused.status = absl::ResourceExhaustedError("full");
  refused.num_frames = 0;
  refused.first_frame.reset();
  result.outcomes.push_back(refused);
  result.seconds = 10;

  const Json json = Describe(result);

  EXPECT_EQ(json["jobs_sent"], 5);
  EXPECT_EQ(json["jobs_done"], 3);
  EXPECT_EQ(json["outcomes"]["OK"], 3);
  EXPECT_EQ(json["outcomes"]["CANCELLED"], 1);
  EXPECT_EQ(json["outcomes"]["RESOURCE_EXHAUSTED"], 1);
  EXPECT_EQ(json["frames_out"], 32);
  EXPECT_DOUBLE_EQ(json["frames_per_s"].get<double>() * json["seconds"].get<double>(), 32);
  EXPECT_DOUBLE_EQ(json["goodput_jobs_per_s"], 0.3);
  EXPECT_DOUBLE_EQ(json["goodput_frames_per_s"], 2.4);
  EXPECT_DOUBLE_EQ(json["first_frame_p50_s"], 1);  // of 1, 1.5, 0.5
  EXPECT_DOUBLE_EQ(json["job_p50_s"], 3);          // of 2, 4, 3
  EXPECT_DOUBLE_EQ(json["cancel_p50_s"], 0.5);
  EXPECT_EQ(json["cancels_sent"], 1);
}

TEST(DescribeTest, SlowReadersDoNotCountInPercentiles) {
  LoadResult result;
  result.outcomes = {Done(0, 1, 2), Done(0, 50, 90)};
  result.outcomes.back().slow_reader = true;
  result.seconds = 90;

  const Json json = Describe(result);

  EXPECT_DOUBLE_EQ(json["job_p99_s"], 2);
  EXPECT_EQ(json["slow_readers"], 1);
  EXPECT_EQ(json["jobs_done"], 2);
}

TEST(DescribeTest, NothingDoneGivesNoPercentiles) {
  const Json json = Describe(LoadResult{});

  EXPECT_TRUE(json["job_p50_s"].is_null());
  EXPECT_EQ(json["frames_per_s"], 0);
}

}  // namespace
}  // namespace reenact::bench
