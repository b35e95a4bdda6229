// Layer 1: pure decisions, as tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/job_state.h"
#include "server/step_policy.h"
#include "server/tenant_ledger.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;

TEST(JobStateTest, MovesForwardOneByOneOrToAnEnd) {
  const std::vector<JobState> path = {JobState::kReceiving, JobState::kPreparing,
                                      JobState::kWaiting, JobState::kRunning, JobState::kSucceeded};
  for (JobState from : kAllJobStates) {
    for (JobState to : kAllJobStates) {
      const auto at = std::find(path.begin(), path.end(), from);
      const bool next_on_path = at != path.end() && at + 1 != path.end() && *(at + 1) == to;
      const bool to_bad_end = !IsTerminal(from) && IsTerminal(to) && to != JobState::kSucceeded;

      // A job may be denoised while it still receives.
      const bool short_cut = from == JobState::kReceiving && to == JobState::kWaiting;

      EXPECT_EQ(CanMove(from, to), next_on_path || to_bad_end || short_cut)
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

using Limits = StepPolicy::Limits;

const absl::Time kNow = absl::FromUnixSeconds(1'000'000'000);

// A job that can use any number of rows.
StepRequest Wants(int min_rows, int max_rows) {
  StepRequest request;
  request.demand = {.min_rows = min_rows, .max_rows = max_rows};
  return request;
}
StepRequest Of(std::string_view tenant, StepRequest request, double served = 0) {
  request.tenant = tenant;
  request.tenant_served = served;
  return request;
}
StepRequest Prio(int priority, StepRequest request) {
  request.priority = priority;
  return request;
}
StepRequest Due(absl::Duration in, StepRequest request, absl::Duration work_left = {}) {
  request.deadline = kNow + in;
  request.work_left = work_left;
  return request;
}
StepRequest PassedOver(int64_t times, StepRequest request) {
  request.passed_over = times;
  return request;
}
// With two rows ahead allowed: 2 * 10 row steps since the last output.
StepRequest Paused() {
  StepRequest request = Wants(1, 4);
  request.outbox_full = request.output_waits = true;
  request.steps_since_render = 20;
  request.num_steps = 10;
  return request;
}
// As above, but only the render thread is behind.
StepRequest WaitsForRendering() {
  StepRequest request = Paused();
  request.outbox_full = false;
  return request;
}

TEST(StepPolicyTest, PausesOnlyAJobWhoseOutputIsBehind) {
  const StepPolicy two({.max_rows_ahead = 2}), three({.max_rows_ahead = 3});
  StepRequest nothing_finished = Paused(), not_far_ahead = Paused();
  nothing_finished.output_waits = false;
  not_far_ahead.steps_since_render = 19;

  EXPECT_TRUE(two.IsPaused(Paused()));
  EXPECT_FALSE(three.IsPaused(Paused()));
  EXPECT_TRUE(two.IsPaused(WaitsForRendering()));
  EXPECT_FALSE(two.IsPaused(nothing_finished));
  EXPECT_FALSE(two.IsPaused(not_far_ahead));
}

TEST(StepPolicyTest, RowsOfAStep) {
  struct Case {
    const char* name;
    std::vector<StepRequest> jobs;
    std::vector<int> expected;  // of 8 rows
  };
  const Case cases[] = {
      {"nobody", {}, {}},
      {"a lone job gets all it can use", {Wants(1, 3)}, {3}},
      {"a lone job gets at most the limit", {Wants(1, 100)}, {8}},
      {"a lone job whose rows stay together runs beyond the limit", {Wants(12, 12)}, {12}},
      {"wants nothing", {Wants(0, 0), Wants(1, 1)}, {0, 1}},
      {"paused", {Paused(), Wants(1, 1)}, {0, 1}},
      {"one-row jobs beside a long one", {Wants(1, 1), Wants(1, 50), Wants(1, 1)}, {1, 6, 1}},
      {"equals share evenly, the first ones the rest",
       {Wants(1, 50), Wants(1, 50), Wants(1, 50)},
       {3, 3, 2}},
      {"evenly beyond unequal minima", {Wants(3, 9), Wants(1, 9)}, {4, 4}},
      {"as many as fit", {Wants(5, 5), Wants(5, 5), Wants(3, 3)}, {5, 0, 3}},
      {"too large to come second", {Wants(1, 1), Wants(12, 12)}, {1, 0}},
      {"too large, but first: alone", {Wants(12, 12), Wants(1, 1)}, {12, 0}},
      {"priority first", {Wants(6, 6), Prio(1, Wants(6, 6))}, {0, 6}},
      {"rows left over: by priority", {Wants(1, 9), Prio(1, Wants(1, 9))}, {1, 7}},
      {"an urgent job first", {Wants(6, 6), Due(absl::Seconds(59), Wants(6, 6))}, {0, 6}},
      {"of two urgent ones the earlier",
       {Due(absl::Seconds(9), Wants(6, 6)), Due(absl::Seconds(8), Wants(6, 6))},
       {0, 6}},
      {"a deadline far away counts for nothing",
       {Wants(6, 6), Due(absl::Seconds(61), Wants(6, 6))},
       {6, 0}},
      {"... unless much work is left before it",
       {Wants(6, 6), Due(absl::Seconds(61), Wants(6, 6), absl::Seconds(2))},
       {0, 6}},
      {"priority before urgency",
       {Due(absl::Seconds(1), Wants(6, 6)), Prio(1, Wants(6, 6))},
       {0, 6}},
      {"tenants share evenly whatever the number of their jobs",
       {Of("a", Wants(1, 9)), Of("a", Wants(1, 9)), Of("a", Wants(1, 9)), Of("b", Wants(1, 9))},
       {2, 1, 1, 4}},
      {"the tenant that was served less first",
       {Of("a", Wants(6, 6), 10), Of("b", Wants(6, 6), 9)},
       {0, 6}},
      {"priority is for jobs of one tenant",
       {Of("a", Prio(9, Wants(6, 6)), 10), Of("b", Wants(6, 6), 9)},
       {0, 6}},
      {"catches up", {Of("a", Wants(1, 9), 4), Of("b", Wants(1, 9), 0)}, {2, 6}},
      // 2 jobs with a patience of 4: 8 times.
      {"not passed over for long yet", {Prio(1, Wants(6, 6)), PassedOver(7, Wants(6, 6))}, {6, 0}},
      {"passed over for long", {Prio(1, Wants(6, 6)), PassedOver(8, Wants(6, 6))}, {0, 6}},
      {"of those the one passed over most",
       {PassedOver(20, Wants(6, 6)), PassedOver(21, Wants(6, 6))},
       {0, 6}},
      {"beside the one passed over for long, fair shares",
       {Of("a", Wants(1, 1), 5), Of("a", PassedOver(99, Wants(4, 4)), 5), Of("b", Wants(1, 9))},
       {0, 4, 4}},
      {"ages across tenants too",
       {Of("a", Wants(6, 6)), Of("b", PassedOver(8, Wants(6, 6)), 100)},
       {0, 6}},
  };
  const StepPolicy policy({.max_rows = 8, .max_rows_ahead = 2});
  for (const Case& c : cases) EXPECT_EQ(policy.Rows(c.jobs, kNow), c.expected) << c.name;
}

TEST(StepPolicyTest, WorkNotRowsIsWhatTenantsShare) {
  StepRequest dear = Of("dear", Wants(1, 9)), cheap = Of("cheap", Wants(1, 9));
  dear.gflop_per_row = 3;
  cheap.gflop_per_row = 1;

  EXPECT_THAT(StepPolicy({.max_rows = 8}).Rows({dear, cheap}, kNow), ElementsAre(2, 6));
}

TEST(StepPolicyTest, JobsHeldByTheirReaderTakeNoPlaceOnTheDevice) {
  struct Case {
    std::vector<StepRequest> active;
    int num_waiting;
    std::vector<size_t> expected;  // of 2 places
  };
  const StepRequest runs = Wants(1, 1);
  const Case cases[] = {
      {{}, 0, {}},
      {{}, 1, {0}},
      {{runs}, 2, {0}},
      {{runs, runs}, 1, {}},
      {{runs, Paused()}, 1, {0}},
      {{runs, WaitsForRendering()}, 1, {}},
      {{Paused(), Paused()}, 3, {0, 1}},
      // Two that were paused run again: nobody is thrown out, nobody new comes.
      {{runs, runs, runs}, 1, {}},
  };
  const StepPolicy policy({.max_rows_ahead = 2, .max_active_jobs = 2});
  for (const Case& c : cases) {
    const std::vector<StepRequest> waiting(c.num_waiting);
    EXPECT_EQ(policy.Activate(c.active, waiting, kNow), c.expected);
  }
}

TEST(StepPolicyTest, GivesPlacesByTenantPriorityAndUrgency) {
  struct Case {
    const char* name;
    std::vector<StepRequest> active, waiting;
    std::vector<size_t> expected;  // of 2 places
  };
  const StepRequest any;
  const Case cases[] = {
      {"in order of admission", {}, {any, any, any}, {0, 1}},
      {"priority", {}, {any, Prio(1, any), Prio(2, any)}, {2, 1}},
      {"urgency", {}, {any, Due(absl::Seconds(9), any), Due(absl::Seconds(8), any)}, {2, 1}},
      {"a place for each tenant", {}, {Of("a", any), Of("a", any), Of("b", any)}, {0, 2}},
      {"places held count", {Of("a", Wants(1, 1))}, {Of("a", Prio(9, any)), Of("b", any)}, {1}},
      // 3 jobs with a patience of 4: 12 times; 8 for the second place.
      {"passed over for long", {}, {any, Prio(5, any), PassedOver(12, any)}, {2, 1}},
      {"not for long yet", {}, {any, Prio(5, any), PassedOver(6, any)}, {1, 0}},
  };
  const StepPolicy policy({.max_active_jobs = 2});
  for (const Case& c : cases) {
    EXPECT_EQ(policy.Activate(c.active, c.waiting, kNow), c.expected) << c.name;
  }
}

// What the header promises, for random jobs that come, go, pause and change their demands. The
// bookkeeping is the scheduler's.
TEST(StepPolicyTest, NeverPassesAJobOverMoreOftenThanPromised) {
  struct SimulatedJob {
    StepRequest request;
    std::string tenant;
    int64_t passed_over_in_a_row = 0;
    // The most jobs that were there since it was last served, came or was paused.
    int64_t most_jobs = 0;
  };
  int64_t most_passed_over = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&random](int n) { return static_cast<int>(random() % n); };
    const StepPolicy policy({.max_rows = 1 + below(8),
                             .max_rows_ahead = 1,
                             .max_active_jobs = 1 + below(4),
                             .patience = 1 + below(4)});
    const int max_jobs = 1 + below(12), num_tenants = 1 + below(4);
    std::vector<SimulatedJob> jobs;
    TenantLedger ledger;
    for (int step = 0; step < 200; ++step) {
      if (static_cast<int>(jobs.size()) < max_jobs && below(3) > 0) {
        SimulatedJob job;
        job.tenant = std::string(1, static_cast<char>('a' + below(num_tenants)));
        job.request.priority = below(3);
        job.request.gflop_per_row = 1 + below(3);
        job.request.deadline = kNow + absl::Seconds(below(100));
        jobs.push_back(job);
      }
      if (!jobs.empty() && below(10) == 0)
        jobs.erase(jobs.begin() + below(static_cast<int>(jobs.size())));
      std::set<std::string, std::less<>> tenants;
      for (SimulatedJob& job : jobs) {
        if (below(4) == 0 || job.request.demand.max_rows == 0) {
          job.request.demand.min_rows = 1 + (below(3) == 0 ? below(10) : 0);
          job.request.demand.max_rows = job.request.demand.min_rows + below(6);
        }
        if (below(20) == 0) job.request.demand = {};
        job.request.tenant = job.tenant;
        job.request.output_waits = below(15) == 0;
        job.request.steps_since_render = 5;
        if (policy.IsRunnable(job.request)) tenants.insert(job.tenant);
      }
      ledger.Begin(tenants);
      std::vector<StepRequest> requests;
      for (SimulatedJob& job : jobs) {
        job.request.tenant_served = ledger.served(job.tenant);
        requests.push_back(job.request);
      }

      const std::vector<int> rows = policy.Rows(requests, kNow);

      ASSERT_EQ(rows.size(), jobs.size());
      const int sum = std::accumulate(rows.begin(), rows.end(), 0);
      const auto num_served = std::count_if(rows.begin(), rows.end(), [](int n) { return n > 0; });
      ASSERT_EQ(num_served > 0, !tenants.empty()) << "the device must not idle";
      ASSERT_TRUE(sum <= policy.limits().max_rows || num_served == 1);
      std::vector<SimulatedJob> served, others;
      for (size_t i = 0; i < jobs.size(); ++i) {
        SimulatedJob& job = jobs[i];
        const RowDemand demand = job.request.demand;
        const int left = policy.limits().max_rows - sum;
        job.most_jobs = std::max(job.most_jobs, static_cast<int64_t>(jobs.size()));
        if (rows[i] > 0) {
          ASSERT_TRUE(policy.IsRunnable(job.request));
          ASSERT_GE(rows[i], demand.min_rows);
          ASSERT_LE(rows[i], demand.max_rows);
          ASSERT_TRUE(left <= 0 || rows[i] == demand.max_rows) << "rows wasted";
          ledger.Charge(job.tenant, rows[i] * job.request.gflop_per_row);
          job.request.passed_over = job.passed_over_in_a_row = job.most_jobs = 0;
          served.push_back(job);
          continue;
        }
        if (policy.IsRunnable(job.request)) {
          ASSERT_GT(demand.min_rows, left) << "rows wasted";
          ++job.request.passed_over;
          ++job.passed_over_in_a_row;
          ASSERT_LE(job.passed_over_in_a_row, policy.MaxPassedOver(job.most_jobs));
          most_passed_over = std::max(most_passed_over, job.passed_over_in_a_row);
        } else {
          job.passed_over_in_a_row = job.most_jobs = 0;
        }
        others.push_back(job);
      }
      jobs = std::move(others);
      jobs.insert(jobs.end(), served.begin(), served.end());
    }
  }
  EXPECT_GT(most_passed_over, 20) << "the schedules were too easy";
}

// The bound is reached: it could not be stated lower.
TEST(StepPolicyTest, BoundOnPassingOverIsTight) {
  // The first job has the priority and nothing fits beside any. When all the others have been
  // passed over equally often, the last of them has to wait for each of the rest.
  const StepPolicy policy({.max_rows = 1, .patience = 3});
  for (size_t num_jobs = 2; num_jobs < 8; ++num_jobs) {
    std::vector<StepRequest> jobs(num_jobs, Wants(1, 1));
    jobs[0].priority = 1;
    int64_t times = 0;
    for (std::vector<int> rows; (rows = policy.Rows(jobs, kNow)).back() == 0; ++times) {
      for (size_t i = 0; i < num_jobs; ++i) {
        jobs[i].passed_over = rows[i] > 0 ? 0 : jobs[i].passed_over + 1;
      }
    }

    EXPECT_EQ(times, policy.MaxPassedOver(static_cast<int64_t>(num_jobs)));
  }
}

TEST(StepPolicyTest, ServesTenantsEvenlyInTheLongRun) {
  // Tenant a has 10 jobs, b one, c two dear ones; all of them could use the whole step.
  const StepPolicy policy({.max_rows = 8});
  TenantLedger ledger;
  std::vector<StepRequest> jobs(10, Of("a", Wants(1, 50)));
  jobs.push_back(Of("b", Wants(2, 50)));
  for (int i = 0; i < 2; ++i) {
    jobs.push_back(Of("c", Wants(1, 50)));
    jobs.back().gflop_per_row = 2.5;
  }
  std::map<std::string_view, double> work;
  double most_in_a_step = 0;
  for (int step = 0; step < 1000; ++step) {
    ledger.Begin({"a", "b", "c"});
    for (StepRequest& job : jobs) job.tenant_served = ledger.served(job.tenant);
    const std::vector<int> rows = policy.Rows(jobs, kNow);
    double in_this_step = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      const double cost = rows[i] * (jobs[i].gflop_per_row > 0 ? jobs[i].gflop_per_row : 1);
      ledger.Charge(jobs[i].tenant, cost);
      work[jobs[i].tenant] += cost;
      in_this_step += cost;
      jobs[i].passed_over = rows[i] > 0 ? 0 : jobs[i].passed_over + 1;
    }
    most_in_a_step = std::max(most_in_a_step, in_this_step);
  }

  EXPECT_NEAR(work["a"], work["b"], most_in_a_step);
  EXPECT_NEAR(work["b"], work["c"], most_in_a_step);
}

TEST(TenantLedgerTest, WhoComesIsLevelWithTheLeastServed) {
  TenantLedger ledger;
  ledger.Begin({"a", "b"});
  ledger.Charge("a", 10);
  ledger.Charge("b", 7);

  ledger.Begin({"a", "b", "new"});

  EXPECT_EQ(ledger.served("new"), 7) << "no credit for having been away";
}

TEST(TenantLedgerTest, LeavingDoesNotCancelADebt) {
  TenantLedger ledger;
  ledger.Begin({"a", "b"});
  ledger.Charge("a", 10);
  ledger.Begin({"b"});
  ledger.Charge("b", 6);

  ledger.Begin({"a", "b"});

  EXPECT_EQ(ledger.served("a") - ledger.served("b"), 4);
}

TEST(TenantLedgerTest, RemembersOnlyWhoIsAhead) {
  TenantLedger ledger;
  for (int i = 0; i < 1000; ++i) {
    const std::string guest = absl::StrCat("guest ", i);
    ledger.Begin({"host", guest});
    ledger.Charge("host", 1);
    ledger.Charge(guest, 1);
  }
  EXPECT_LE(ledger.size(), 3u);

  ledger.Begin({});
  EXPECT_EQ(ledger.size(), 0u);
}

}  // namespace
}  // namespace reenact
