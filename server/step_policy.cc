#include "server/step_policy.h"

#include <algorithm>

namespace reenact {

bool IsPaused(const StepView& job, int max_passes_ahead) {
  return job.renderable && job.steps_since_render >= int64_t{max_passes_ahead} * job.num_steps;
}

int NumToActivate(const std::vector<StepView>& jobs, int max_active_jobs, int max_passes_ahead) {
  int num_busy = 0, num_waiting = 0;
  for (const StepView& job : jobs) {
    if (!job.active) ++num_waiting;
    const bool held_by_reader = job.outbox_full && IsPaused(job, max_passes_ahead);
    if (job.active && !held_by_reader) ++num_busy;
  }
  return std::clamp(max_active_jobs - num_busy, 0, num_waiting);
}

std::vector<size_t> PickForStep(const std::vector<StepView>& jobs, int max_batch_jobs,
                                int max_passes_ahead) {
  std::vector<size_t> picked;
  for (size_t i = 0; i < jobs.size() && picked.size() < static_cast<size_t>(max_batch_jobs); ++i) {
    if (jobs[i].active && !IsPaused(jobs[i], max_passes_ahead)) picked.push_back(i);
  }
  return picked;
}

}  // namespace reenact
