#include "tests/bench/measure.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reenact::bench {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Lt;

TEST(PercentileTest, IsLinearBetweenRanks) {
  const std::vector<double> values = {40, 10, 30, 20, 50};  // any order

  EXPECT_DOUBLE_EQ(Percentile(values, 0), 10);
  EXPECT_DOUBLE_EQ(Percentile(values, 50), 30);
  EXPECT_DOUBLE_EQ(Percentile(values, 95), 48);  // rank 3.8 of 0..4
  EXPECT_DOUBLE_EQ(Percentile(values, 100), 50);
  EXPECT_DOUBLE_EQ(Median({1, 2}), 1.5);
  EXPECT_DOUBLE_EQ(Percentile({7}, 99), 7);
}

TEST(PoissonTest, IsAFunctionOfTheSeed) {
  const auto times = PoissonArrivals(10, 1e9, 1000, 5);

  EXPECT_EQ(times, PoissonArrivals(10, 1e9, 1000, 5));
  EXPECT_NE(times, PoissonArrivals(10, 1e9, 1000, 6));
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
}

TEST(PoissonTest, HasTheRateAndTheSpread) {
  constexpr size_t kEvents = 20'000;
  const auto times = PoissonArrivals(4, 1e9, kEvents, 1);
  ASSERT_EQ(times.size(), kEvents);

  double sum = 0, squares = 0, last = 0;
  for (const double time : times) {
    sum += time - last;
    squares += (time - last) * (time - last);
    last = time;
  }
  const double mean = sum / kEvents;

  // Mean and deviation of the gaps are both 1/rate; five standard errors of the mean are
  // 5 * 0.25 / sqrt(20000) = 0.009.
  EXPECT_THAT(mean, DoubleNear(0.25, 0.009));
  EXPECT_THAT(std::sqrt(squares / kEvents - mean * mean), DoubleNear(0.25, 0.02));
}

TEST(PoissonTest, EndsByTimeOrByCount) {
  const auto by_time = PoissonArrivals(100, 2, 1'000'000, 3);
  EXPECT_THAT(by_time.size(), AllOf(Ge(120u), Lt(280u)));  // 200, deviation 14
  EXPECT_LT(by_time.back(), 2);

  EXPECT_EQ(PoissonArrivals(100, 2, 7, 3).size(), 7u);
}

TEST(ElapsedTest, TellsADisturbedRun) {
  const Elapsed disturbed = {.wall = 2, .cpu = 2};

  EXPECT_DOUBLE_EQ(disturbed.CoresHad(2), 0.5);
  EXPECT_DOUBLE_EQ(disturbed.CoresHad(1), 1);
  EXPECT_DOUBLE_EQ((Elapsed{.wall = 3, .cpu = 2}.Seconds(1)), 2);
  EXPECT_DOUBLE_EQ((Elapsed{.wall = 3, .cpu = 2}.Seconds(2)), 3);
}

TEST(StopwatchTest, CountsThisProcessesWork) {
  const Stopwatch watch;
  volatile double sum = 0;
  for (int i = 0; i < 5'000'000; ++i) sum = sum + i;

  EXPECT_GT(watch.elapsed().cpu, 0);
  EXPECT_GT(watch.elapsed().wall, 0);
}

TEST(ProcessTest, TellsMemoryAndTimeOfAProcess) {
  std::vector<char> touched(size_t{64} << 20, 1);

  EXPECT_GE(PeakRssMb(), 64);
  EXPECT_GE(PeakRssMb(getpid()), 64);
  ASSERT_TRUE(CpuSeconds(getpid()).has_value());
  EXPECT_GE(*CpuSeconds(getpid()), 0);
  EXPECT_FALSE(CpuSeconds(std::numeric_limits<pid_t>::max()).has_value());
  EXPECT_EQ(touched.back(), 1);
}

TEST(ProcessTest, PeakIsOfTheTimeSinceTheReset) {
  // Mapped, so that it is the kernel's again at once, whatever the allocator keeps.
  constexpr size_t kBytes = size_t{256} << 20;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  const double large = PeakRssMb();
  munmap(memory, kBytes);
  if (!ResetPeakRss()) GTEST_SKIP() << "this kernel does not reset the peak";

  EXPECT_LT(PeakRssMb(), large - 128);
}

TEST(ParseIntListTest, NamesTheFlagAndTheRange) {
  EXPECT_THAT(*ParseIntList("--clients", "1,2,16", 1, 100), ElementsAre(1, 2, 16));
  for (const char* wrong : {"", "0", "1,,2", "101", "x", "1;2"}) {
    const auto numbers = ParseIntList("--clients", wrong, 1, 100);
    ASSERT_EQ(numbers.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(numbers.status().message()),
                AllOf(HasSubstr("--clients"), HasSubstr("1 to 100")));
  }
}

TEST(ParseWordListTest, NamesTheFlagAndTheWords) {
  EXPECT_THAT(*ParseWordList("--dtype", "bf16,fp32", {"fp32", "bf16"}),
              ElementsAre("bf16", "fp32"));
  for (const char* wrong : {"", "fp16", "fp32,"}) {
    const auto words = ParseWordList("--dtype", wrong, {"fp32", "bf16"});
    ASSERT_EQ(words.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(words.status().message()),
                AllOf(HasSubstr("--dtype"), HasSubstr("fp32, bf16")));
  }
}

TEST(RandomTest, FollowsSplitmix64) {
  // First outputs for seed 1234567, as its authors' C program prints them.
  Random random(1234567);

  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
}

}  // namespace
}  // namespace reenact::bench
