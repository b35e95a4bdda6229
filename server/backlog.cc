#include "server/backlog.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

namespace reenact {

void Backlog::Add(const std::string& job_id, const std::string& model) {
  if (entries_.emplace(job_id, Entry{.model = model, .gflop = std::nullopt}).second) {
    order_.push_back(job_id);
  }
}

std::optional<absl::Duration> Backlog::Plan(const std::string& job_id, double gflop) {
  const auto entry = entries_.find(job_id);
  if (entry == entries_.end()) return std::nullopt;
  const absl::Duration before = work_left();
  const absl::Duration added = cost_model_.TimeFor(entry->second.model, gflop);
  if (before > absl::ZeroDuration() && added < absl::InfiniteDuration() &&
      before + added > max_work_) {
    Remove(job_id);
    return std::min(before + added - max_work_, before);
  }
  entry->second.gflop = gflop;
  gflop_by_model_[entry->second.model] += gflop;
  return std::nullopt;
}

void Backlog::Grow(const std::string& job_id, double gflop) {
  const auto entry = entries_.find(job_id);
  if (entry == entries_.end() || !entry->second.gflop.has_value()) return;
  const double left = std::max(gflop - entry->second.run, 0.0);
  gflop_by_model_[entry->second.model] += left - *entry->second.gflop;
  entry->second.gflop = left;
}

void Backlog::Activate(const std::string& job_id) {
  const auto entry = entries_.find(job_id);
  if (entry == entries_.end()) return;
  entry->second.active = true;
  std::erase(order_, job_id);
}

void Backlog::Run(const std::string& job_id, double gflop) {
  const auto entry = entries_.find(job_id);
  if (entry == entries_.end() || !entry->second.gflop.has_value()) return;
  entry->second.run += gflop;
  const double run = std::min(gflop, *entry->second.gflop);
  *entry->second.gflop -= run;
  gflop_by_model_[entry->second.model] -= run;
}

void Backlog::Remove(const std::string& job_id) {
  const auto entry = entries_.find(job_id);
  if (entry == entries_.end()) return;
  gflop_by_model_[entry->second.model] -= entry->second.gflop.value_or(0);
  if (!entry->second.active) std::erase(order_, job_id);
  entries_.erase(entry);
  // Rounding errors of the sums end with the jobs.
  if (entries_.empty()) gflop_by_model_.clear();
}

absl::Duration Backlog::work_left() const {
  absl::Duration sum;
  for (const auto& [model, gflop] : gflop_by_model_) {
    const absl::Duration time = cost_model_.TimeFor(model, gflop);
    if (time < absl::InfiniteDuration()) sum += time;
  }
  return sum;
}

absl::Duration Backlog::Excess() const {
  return std::max(work_left() - max_work_, absl::ZeroDuration());
}

absl::Duration Backlog::TimeLeft(const Entry& entry, absl::Duration if_unplanned) const {
  return entry.gflop.has_value() ? cost_model_.TimeFor(entry.model, *entry.gflop) : if_unplanned;
}

absl::Duration Backlog::ExpectedWait() const {
  absl::Duration known_sum;
  int num_known = 0;
  std::vector<absl::Duration> active;
  for (const auto& [job_id, entry] : entries_) {
    if (!entry.gflop.has_value()) continue;
    const absl::Duration left = TimeLeft(entry, absl::InfiniteDuration());
    known_sum += left;
    ++num_known;
    if (entry.active) active.push_back(left);
  }
  const absl::Duration mean = num_known > 0 ? known_sum / num_known : absl::InfiniteDuration();

  // The jobs on the device share it evenly: in `progress` each of them has had that much of it.
  std::priority_queue<absl::Duration, std::vector<absl::Duration>, std::greater<>> ends(
      std::greater<>(), std::move(active));
  const auto max_active = static_cast<size_t>(max_active_jobs_);
  absl::Duration wait, progress;
  const auto await_place = [&] {
    if (ends.size() < max_active) return;
    wait += (ends.top() - progress) * static_cast<double>(ends.size());
    progress = ends.top();
    ends.pop();
  };
  for (const std::string& job_id : order_) {
    await_place();
    ends.push(progress + TimeLeft(entries_.at(job_id), mean));
  }
  await_place();
  return wait;
}

}  // namespace reenact
