// Who goes next: the scheduler's decisions as pure functions.
//
// Rows of a step. Row by row, the next one goes to the tenant that has been served least (work in
// GFLOP, TenantLedger), so tenants that want the device share it evenly, whatever the number of
// their jobs. Within a tenant:
//  1. every job gets its min_rows: higher priority first, then urgent jobs (little time left before
//     their deadline) by deadline, then the job that has been without a step for longest;
//  2. rows left over go round to the jobs that can use more: higher priority first, evenly among
//     equals.
// A job whose min_rows do not fit beside the others waits for a step in which it comes first; then
// it runs, alone if need be, even if min_rows is above the limit. A lone job gets all the rows it
// can use in every step.
//
// Ageing, the bound on being passed over. A job is passed over by a step if it is runnable (wants
// rows and is not paused) and gets none; passed_over counts these steps and is 0 again once it gets
// rows. The job that has been passed over most goes before all others if that is at least
// P = patience * (number of runnable jobs) times.
//   Claim. While a job stays runnable it is passed over at most (patience + 1) * N - 2 times in
//   a row, N >= 2 being the most jobs that are active meanwhile.
//   Proof. Let j be passed over patience * N times in a row. From then on j is entitled to go
//   first, as P <= patience * N. Call ahead of j the jobs with passed_over at least as high as j's:
//   at most N - 2, as one job besides j, the last to be served, is at 0. No job comes to be ahead
//   later: passed_over of j rises by one in each step, of any other job by one at most, and a new
//   job starts at 0. In each step the first of those entitled gets rows and with that leaves the
//   jobs ahead, or it is j. So j comes first after at most N - 2 further steps.
// The bound holds for any priorities, deadlines, tenants and demands. Ageing takes one job a step,
// and what it takes is charged to its tenant, so the tenants' shares stay even in the long run.
//
// Places on the device (memory bounds their number) are given by the same rules: the tenant with
// the fewest places first, then priority, urgency and order of admission; a job is passed over by
// every other job that gets a place, and the bound reads: by at most (patience + 1) * N - 2 jobs, N
// being the most jobs that wait meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "pipeline/engine.h"

namespace reenact {

// What the decisions need to know of a job that has been prepared.
struct StepRequest {
  std::string_view tenant;
  int priority = 0;  // higher first
  absl::Time deadline = absl::InfiniteFuture();
  absl::Duration work_left = {};  // expected, alone on the device; zero if not known
  int64_t passed_over = 0;        // see above

  // Of a job that has a place.
  RowDemand demand = {};
  double gflop_per_row = 0;        // of one row step; 0: not known, all rows count alike
  double tenant_served = 0;        // TenantLedger::served()
  bool output_waits = false;       // finished work waits to be rendered
  bool outbox_full = false;        // the reader is slower than the job
  int64_t steps_since_render = 0;  // row steps
  int num_steps = 1;               // of one row
};

// Thread-safe: constant.
class StepPolicy {
 public:
  struct Limits {
    // Rows in one step, of all jobs together. 1 or more; the memory of a step grows with it.
    int max_rows = 8;
    // Rows' worth of steps that a job may run while finished work of it waits. 0 or more.
    int max_rows_ahead = 16;
    // Jobs that have a place on the device. 1 or more.
    int max_active_jobs = 8;
    // See "Ageing". 1 or more; smaller is fairer to each job and keeps less to priorities.
    int patience = 4;
    // A job is urgent if its deadline less the work left is nearer than this.
    absl::Duration urgent_slack = absl::Minutes(1);
  };

  explicit StepPolicy(const Limits& limits) : limits_(limits) {}

  // Rows of each job in the next step: 0, or within its demand. The caller keeps `jobs` in the
  // order of their last step, longest ago first.
  std::vector<int> Rows(absl::Span<const StepRequest> jobs, absl::Time now) const;

  // Indices of the `waiting` jobs, given in order of admission, that get a place beside the
  // `active` ones, in the order in which they get it.
  std::vector<size_t> Activate(absl::Span<const StepRequest> active,
                               absl::Span<const StepRequest> waiting, absl::Time now) const;

  // Whether the job must not be stepped, so that what waits to be rendered stays bounded: finished
  // work waits and the job is max_rows_ahead rows ahead of the last Render call. A job with a full
  // outbox is not rendered, so it comes to this; it then takes no place.
  bool IsPaused(const StepRequest& job) const;

  // Whether the job could use rows now.
  bool IsRunnable(const StepRequest& job) const;

  // The most times in a row that a job can be passed over, beside `num_jobs` - 1 others.
  int64_t MaxPassedOver(int64_t num_jobs) const {
    return num_jobs < 2 ? 0 : (limits_.patience + 1) * num_jobs - 2;
  }

  const Limits& limits() const { return limits_; }

 private:
  // Whether `a` goes before `b` if they are jobs of one tenant; false if nothing tells them apart.
  bool GoesBefore(const StepRequest& a, const StepRequest& b, absl::Time now) const;
  bool IsUrgent(const StepRequest& job, absl::Time now) const;

  const Limits limits_;
};

}  // namespace reenact
