#include "server/step_policy.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

namespace reenact {
namespace {

double Cost(const StepRequest& job) { return job.gflop_per_row > 0 ? job.gflop_per_row : 1; }

int MinRows(const StepRequest& job) { return std::max(job.demand.min_rows, 1); }

// One step being filled with rows.
class StepFilling {
 public:
  // `order`: the indices of the runnable jobs, those of one tenant in the order in which they go.
  StepFilling(absl::Span<const StepRequest> jobs, std::vector<size_t> order, int max_rows)
      : jobs_(jobs),
        order_(std::move(order)),
        rows_(jobs.size(), 0),
        rows_left_(max_rows),
        tenant_(jobs.size(), 0) {
    std::map<std::string_view, size_t> tenants;
    for (size_t index : order_) {
      const auto [entry, is_new] = tenants.emplace(jobs_[index].tenant, served_.size());
      if (is_new) served_.push_back(jobs_[index].tenant_served);
      tenant_[index] = entry->second;
    }
  }

  void Give(size_t index, int num_rows) {
    rows_[index] += num_rows;
    rows_left_ -= num_rows;
    served_[tenant_[index]] += num_rows * Cost(jobs_[index]);
    empty_ = false;
  }

  void GiveRest() {
    while (rows_left_ > 0) {
      const std::optional<size_t> next = Next();
      if (!next.has_value()) return;
      Give(*next, rows_[*next] == 0 ? MinRows(jobs_[*next]) : 1);
    }
  }

  std::vector<int> TakeRows() { return std::move(rows_); }

 private:
  // The job that gets more: the best one of the tenant that has been served least.
  std::optional<size_t> Next() const {
    std::optional<size_t> best;
    for (size_t index : order_) {
      const bool can_join = rows_[index] == 0 && (empty_ || MinRows(jobs_[index]) <= rows_left_);
      const bool can_grow = rows_[index] > 0 && rows_[index] < jobs_[index].demand.max_rows;
      if ((can_join || can_grow) && (!best.has_value() || IsBetter(index, *best))) best = index;
    }
    return best;
  }

  // Whether `a`, which comes after `b` in the order, is to get more before `b`.
  bool IsBetter(size_t a, size_t b) const {
    if (tenant_[a] != tenant_[b]) return served_[tenant_[a]] < served_[tenant_[b]];
    if (rows_[a] == 0 || rows_[b] == 0) return rows_[b] > 0;
    return jobs_[a].priority == jobs_[b].priority && rows_[a] < rows_[b];
  }

  const absl::Span<const StepRequest> jobs_;
  const std::vector<size_t> order_;
  std::vector<int> rows_;
  int rows_left_;
  bool empty_ = true;
  std::vector<size_t> tenant_;  // of each job, an index into `served_`
  std::vector<double> served_;
};

// The index among `candidates` that ageing lets go first, if any.
std::optional<size_t> MostPassedOver(absl::Span<const StepRequest> jobs,
                                     const std::vector<size_t>& candidates, int patience) {
  std::optional<size_t> most;
  for (size_t index : candidates) {
    if (!most.has_value() || jobs[index].passed_over > jobs[*most].passed_over) most = index;
  }
  const auto threshold = static_cast<int64_t>(patience * candidates.size());
  if (most.has_value() && jobs[*most].passed_over < threshold) most.reset();
  return most;
}

}  // namespace

bool StepPolicy::IsPaused(const StepRequest& job) const {
  return job.output_waits &&
         job.steps_since_render >= int64_t{limits_.max_rows_ahead} * job.num_steps;
}

bool StepPolicy::IsRunnable(const StepRequest& job) const {
  return job.demand.max_rows > 0 && !IsPaused(job);
}

bool StepPolicy::IsUrgent(const StepRequest& job, absl::Time now) const {
  return job.deadline - now - job.work_left < limits_.urgent_slack;
}

bool StepPolicy::GoesBefore(const StepRequest& a, const StepRequest& b, absl::Time now) const {
  if (a.priority != b.priority) return a.priority > b.priority;
  const bool a_urgent = IsUrgent(a, now), b_urgent = IsUrgent(b, now);
  if (a_urgent && b_urgent) return a.deadline < b.deadline;
  return a_urgent && !b_urgent;
}

std::vector<int> StepPolicy::Rows(absl::Span<const StepRequest> jobs, absl::Time now) const {
  std::vector<size_t> order;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (IsRunnable(jobs[i])) order.push_back(i);
  }
  const std::optional<size_t> first = MostPassedOver(jobs, order, limits_.patience);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return GoesBefore(jobs[a], jobs[b], now); });

  StepFilling filling(jobs, std::move(order), limits_.max_rows);
  if (first.has_value()) filling.Give(*first, MinRows(jobs[*first]));
  filling.GiveRest();
  return filling.TakeRows();
}

std::vector<size_t> StepPolicy::Activate(absl::Span<const StepRequest> active,
                                         absl::Span<const StepRequest> waiting,
                                         absl::Time now) const {
  int num_busy = 0;
  std::map<std::string_view, int> places;
  for (const StepRequest& job : active) {
    if (job.outbox_full && IsPaused(job)) continue;
    ++num_busy;
    ++places[job.tenant];
  }

  std::vector<size_t> candidates(waiting.size());
  std::iota(candidates.begin(), candidates.end(), size_t{0});
  std::vector<StepRequest> aged(waiting.begin(), waiting.end());
  std::vector<size_t> activated;
  const auto goes_before = [&](size_t a, size_t b) {
    const int a_places = places[aged[a].tenant], b_places = places[aged[b].tenant];
    return a_places != b_places ? a_places < b_places : GoesBefore(aged[a], aged[b], now);
  };
  for (; num_busy < limits_.max_active_jobs && !candidates.empty(); ++num_busy) {
    const std::optional<size_t> first = MostPassedOver(aged, candidates, limits_.patience);
    const size_t next = first.has_value()
                            ? *first
                            : *std::min_element(candidates.begin(), candidates.end(), goes_before);
    activated.push_back(next);
    ++places[aged[next].tenant];
    std::erase(candidates, next);
    for (size_t index : candidates) ++aged[index].passed_over;
  }
  return activated;
}

}  // namespace reenact
