// Who goes next: the scheduler's decisions as pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reenact {

// What the decisions need to know of a job that has been prepared.
struct StepView {
  bool active = false;       // has a place on the device
  bool outbox_full = false;  // the reader is slower than the job
  bool renderable = false;   // finished work waits to be rendered
  int64_t steps_since_render = 0;
  int num_steps = 1;  // denoising steps of one pass
};

// Whether the job must not be stepped, so that what waits to be rendered stays bounded: finished
// work waits, and the job is `max_passes_ahead` passes ahead of the last Render call. A job with a
// full outbox is not rendered, so it comes to this.
bool IsPaused(const StepView& job, int max_passes_ahead);

// How many of the jobs that wait for a place get one, oldest first. A job that is paused because
// its outbox is full takes no place.
int NumToActivate(const std::vector<StepView>& jobs, int max_active_jobs, int max_passes_ahead);

// Indices of the jobs that share the next step: the first `max_batch_jobs` active ones that are not
// paused. The caller keeps `jobs` in the order of their last step, longest ago first: round robin.
std::vector<size_t> PickForStep(const std::vector<StepView>& jobs, int max_batch_jobs,
                                int max_passes_ahead);

}  // namespace reenact
