// Layer 1: pure decisions, as tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "server/job_state.h"
#include "server/step_policy.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(JobStateTest, MovesForwardOneByOneOrToAnEnd) {
  const std::vector<JobState> path = {JobState::kReceiving, JobState::kPreparing,
                                      JobState::kWaiting, JobState::kRunning, JobState::kSucceeded};
  for (JobState from : kAllJobStates) {
    for (JobState to : kAllJobStates) {
      const auto at = std::find(path.begin(), path.end(), from);
      const bool next_on_path = at != path.end() && at + 1 != path.end() && *(at + 1) == to;
      const bool to_bad_end = !IsTerminal(from) && IsTerminal(to) && to != JobState::kSucceeded;

      EXPECT_EQ(CanMove(from, to), next_on_path || to_bad_end)
          << JobStateName(from) << " -> " << JobStateName(to);
    }
  }
}

TEST(JobStateTest, EndsByStatusCode) {
  EXPECT_EQ(EndState(absl::OkStatus()), JobState::kSucceeded);
  EXPECT_EQ(EndState(absl::CancelledError("")), JobState::kCancelled);
  EXPECT_EQ(EndState(absl::UnavailableError("")), JobState::kCancelled);
  EXPECT_EQ(EndState(absl::DeadlineExceededError("")), JobState::kExpired);
  EXPECT_EQ(EndState(absl::InvalidArgumentError("")), JobState::kFailed);
  EXPECT_EQ(EndState(absl::InternalError("")), JobState::kFailed);
}

StepView Active() { return {.active = true, .num_steps = 10}; }
StepView Waiting() { return {}; }
// With two passes ahead allowed: 2 * 10 steps since the last output.
StepView Paused() {
  return {.active = true,
          .outbox_full = true,
          .renderable = true,
          .steps_since_render = 20,
          .num_steps = 10};
}

// As above, but only the render thread is behind.
StepView WaitsForRendering() {
  StepView view = Paused();
  view.outbox_full = false;
  return view;
}

TEST(StepPolicyTest, PausesOnlyAJobWhoseOutputIsBehind) {
  StepView nothing_finished = Paused(), not_far_ahead = Paused();
  nothing_finished.renderable = false;
  not_far_ahead.steps_since_render = 19;

  EXPECT_TRUE(IsPaused(Paused(), 2));
  EXPECT_FALSE(IsPaused(Paused(), 3));
  EXPECT_TRUE(IsPaused(WaitsForRendering(), 2));
  EXPECT_FALSE(IsPaused(nothing_finished, 2));
  EXPECT_FALSE(IsPaused(not_far_ahead, 2));
}

TEST(StepPolicyTest, JobsHeldByTheirReaderTakeNoPlaceOnTheDevice) {
  struct Case {
    std::vector<StepView> jobs;
    int max_active;
    int expected;
  };
  const Case cases[] = {
      {{}, 2, 0},
      {{Waiting()}, 2, 1},
      {{Active(), Waiting(), Waiting()}, 2, 1},
      {{Active(), Active(), Waiting()}, 2, 0},
      {{Active(), Paused(), Waiting()}, 2, 1},
      {{Active(), WaitsForRendering(), Waiting()}, 2, 0},
      {{Paused(), Paused(), Waiting(), Waiting(), Waiting()}, 2, 2},
      // Two that were paused run again: nobody is thrown out, nobody new comes.
      {{Active(), Active(), Active(), Waiting()}, 2, 0},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(NumToActivate(c.jobs, c.max_active, 2), c.expected);
  }
}

TEST(StepPolicyTest, PicksTheFirstRunnableJobsUpToTheBatch) {
  EXPECT_THAT(PickForStep({}, 2, 2), IsEmpty());
  EXPECT_THAT(PickForStep({Active()}, 2, 2), ElementsAre(0));
  EXPECT_THAT(PickForStep({Active(), Active(), Active()}, 2, 2), ElementsAre(0, 1));
  EXPECT_THAT(PickForStep({Paused(), Active(), Active()}, 2, 2), ElementsAre(1, 2));
  EXPECT_THAT(PickForStep({Paused(), Paused()}, 2, 2), IsEmpty());
  EXPECT_THAT(PickForStep({Waiting(), Active()}, 2, 2), ElementsAre(1));
}

}  // namespace
}  // namespace reenact
