// What work costs, and how much of it may be taken on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "server/backlog.h"
#include "server/cost_model.h"

namespace reenact {
namespace {

using ::testing::Optional;

ModelInfo Model(std::string name, double gflop_per_second) {
  ModelInfo model;
  model.name = std::move(name);
  model.gflop_per_second = gflop_per_second;
  return model;
}

// Seconds, with the rounding of the speed's arithmetic taken off.
double SecondsFor(const CostModel& model, const std::string& name, double gflop) {
  return absl::ToDoubleSeconds(model.TimeFor(name, gflop));
}

TEST(CostModelTest, StartsWithTheSpeedThatWasTimed) {
  const CostModel model({Model("a", 5), Model("untimed", 0)});

  EXPECT_EQ(model.TimeFor("a", 10), absl::Seconds(2));
  EXPECT_EQ(model.TimeFor("untimed", 10), absl::InfiniteDuration());
  EXPECT_EQ(model.TimeFor("untimed", 0), absl::ZeroDuration());
  EXPECT_EQ(model.TimeFor("no such model", 1), absl::InfiniteDuration());
}

TEST(CostModelTest, FollowsTheStepsThatRun) {
  CostModel model({Model("a", 5), Model("untimed", 0)});

  model.ObserveStep({{"a", 10}}, absl::Seconds(1));  // twice as fast
  EXPECT_NEAR(SecondsFor(model, "a", 1), 1 / 5.5, 1e-9);
  for (int i = 0; i < 100; ++i) model.ObserveStep({{"a", 10}}, absl::Seconds(1));
  EXPECT_NEAR(SecondsFor(model, "a", 1), 1 / 10.0, 1e-4);

  model.ObserveStep({{"untimed", 4}, {"untimed", 2}}, absl::Seconds(3));
  EXPECT_EQ(model.TimeFor("untimed", 10), absl::Seconds(5)) << "the first step counts fully";
  model.ObserveStep({{"a", 10}}, absl::ZeroDuration());
  model.ObserveStep({{"a", 0}}, absl::Seconds(1));
  EXPECT_NEAR(SecondsFor(model, "a", 1), 1 / 10.0, 1e-4) << "steps that tell nothing";
}

TEST(CostModelTest, SharesAStepsTimeAmongItsModels) {
  CostModel model({Model("fast", 10), Model("slow", 1)});

  // Expected 1 s + 1 s; it took 1 s: both seem twice as fast.
  model.ObserveStep({{"fast", 10}, {"slow", 1}}, absl::Seconds(1));

  EXPECT_NEAR(SecondsFor(model, "fast", 1), 1 / 11.0, 1e-9);
  EXPECT_NEAR(SecondsFor(model, "slow", 1), 1 / 1.1, 1e-9);
}

// One GFLOP a second, so that work reads as time.
class BacklogTest : public ::testing::Test {
 protected:
  std::optional<absl::Duration> Take(const std::string& id, double gflop,
                                     const std::string& model = "m") {
    backlog_.Add(id, model);
    return backlog_.Plan(id, gflop);
  }

  CostModel cost_model_{{Model("m", 1), Model("untimed", 0)}};
  Backlog backlog_{cost_model_, absl::Seconds(100), /*max_active_jobs=*/2};
};

TEST_F(BacklogTest, TakesWorkUpToTheBoundAndSaysWhenMoreWouldFit) {
  EXPECT_EQ(Take("a", 60), std::nullopt);
  EXPECT_EQ(Take("b", 40), std::nullopt);
  EXPECT_THAT(Take("c", 10), Optional(absl::Seconds(10)));
  EXPECT_EQ(backlog_.work_left(), absl::Seconds(100));

  backlog_.Run("a", 10);

  EXPECT_EQ(Take("c", 10), std::nullopt);
}

TEST_F(BacklogTest, AJobThatFindsNoWorkAlwaysFits) {
  backlog_.Add("being prepared", "m");
  EXPECT_EQ(Take("large", 1000), std::nullopt);
  EXPECT_EQ(backlog_.Excess(), absl::Seconds(900));

  EXPECT_THAT(Take("large too", 1000), Optional(absl::Seconds(1000)))
      << "it fits when nothing else is left";

  backlog_.Run("large", 900);
  EXPECT_EQ(backlog_.Excess(), absl::ZeroDuration());
}

TEST_F(BacklogTest, WorkOfAJobThatIsStillBeingReadGrowsAndIsNotRefused) {
  EXPECT_EQ(Take("growing", 30), std::nullopt);
  backlog_.Run("growing", 20);
  backlog_.Grow("growing", 80);
  EXPECT_EQ(backlog_.work_left(), absl::Seconds(60));
  backlog_.Grow("growing", 300);
  EXPECT_EQ(backlog_.Excess(), absl::Seconds(180));

  // Its file said that there was more than there is.
  backlog_.Grow("growing", 40);
  EXPECT_EQ(backlog_.work_left(), absl::Seconds(20));
  backlog_.Grow("growing", 10);
  EXPECT_EQ(backlog_.work_left(), absl::ZeroDuration());

  backlog_.Remove("growing");
  backlog_.Grow("growing", 1000);
  EXPECT_EQ(backlog_.work_left(), absl::ZeroDuration());
  backlog_.Add("being prepared", "m");
  backlog_.Grow("being prepared", 1000);
  EXPECT_EQ(backlog_.work_left(), absl::ZeroDuration()) << "it has not been taken on";
}

TEST_F(BacklogTest, WorkLeavesWithItsJob) {
  Take("a", 30);
  Take("b", 20);
  backlog_.Run("a", 25);
  EXPECT_EQ(backlog_.work_left(), absl::Seconds(25));

  backlog_.Remove("a");
  EXPECT_EQ(backlog_.work_left(), absl::Seconds(20));
  backlog_.Run("b", 21);
  EXPECT_EQ(backlog_.work_left(), absl::ZeroDuration()) << "no job has less than nothing left";
  backlog_.Remove("b");
  backlog_.Remove("b");
  EXPECT_EQ(backlog_.work_left(), absl::ZeroDuration());
}

TEST_F(BacklogTest, WorkOfAnUntimedModelIsNotRefused) {
  Take("a", 90);
  EXPECT_EQ(Take("b", 1e9, "untimed"), std::nullopt);
  EXPECT_EQ(backlog_.work_left(), absl::Seconds(90));

  cost_model_.ObserveStep({{"untimed", 1e9}}, absl::Seconds(10));

  EXPECT_EQ(backlog_.work_left(), absl::Seconds(100));
}

TEST_F(BacklogTest, ExpectsAWaitOnlyWhenThePlacesAreTaken) {
  EXPECT_EQ(backlog_.ExpectedWait(), absl::ZeroDuration());
  Take("a", 30);
  backlog_.Activate("a");
  EXPECT_EQ(backlog_.ExpectedWait(), absl::ZeroDuration());
  Take("b", 10);

  // Two jobs share the device: the one with 10 s ends after 20.
  EXPECT_EQ(backlog_.ExpectedWait(), absl::Seconds(20));
  backlog_.Activate("b");
  EXPECT_EQ(backlog_.ExpectedWait(), absl::Seconds(20));

  // c takes the place of b and ends after 2 * 5 s more, when a has 15 s left.
  Take("c", 5);
  EXPECT_EQ(backlog_.ExpectedWait(), absl::Seconds(30));
  // d takes the place of c; a ends next.
  Take("d", 50);
  EXPECT_EQ(backlog_.ExpectedWait(), absl::Seconds(60));
}

TEST_F(BacklogTest, CountsJobsBeingPreparedAsTheMeanOfTheOthers) {
  Take("a", 30);
  Take("b", 10);
  backlog_.Activate("a");
  backlog_.Activate("b");
  backlog_.Add("unknown", "m");

  // b ends after 20 s and a has 20 s left; "unknown" counts 20 s: both end after 40 s more.
  EXPECT_EQ(backlog_.ExpectedWait(), absl::Seconds(60));
}

TEST_F(BacklogTest, SaysSoIfTheWaitIsNotKnown) {
  backlog_.Add("a", "m");
  backlog_.Add("b", "m");
  EXPECT_EQ(backlog_.ExpectedWait(), absl::InfiniteDuration()) << "nothing is known of any job";
  EXPECT_EQ(Take("c", 5, "untimed"), std::nullopt);
  backlog_.Activate("c");
  EXPECT_EQ(backlog_.ExpectedWait(), absl::InfiniteDuration());
}

}  // namespace
}  // namespace reenact
