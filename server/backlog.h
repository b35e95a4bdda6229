// The work of the admitted jobs that has not run yet, in time on the device: the bound on it and
// the wait that follows from it.
//
// A job's work is known once its driving video has been read; before that it counts as a job of the
// mean work of the others. The work of a job that is denoised while it is being read is what is
// known of it so far. Work of a model whose speed is not known takes no time here.
//
// Thread-compatible.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/cost_model.h"

namespace reenact {

class Backlog {
 public:
  // `cost_model` must outlive the backlog. `max_work`: see Excess(). `max_active_jobs`: jobs that
  // share the device.
  Backlog(const CostModel& cost_model, absl::Duration max_work, int max_active_jobs)
      : cost_model_(cost_model), max_work_(max_work), max_active_jobs_(max_active_jobs) {}

  // A job has been admitted.
  void Add(const std::string& job_id, const std::string& model);

  // The job's work is now known. Not empty: it is more than fits beside what is there, and the job,
  // which counts no more, must be refused; the value is the time until it would fit. A job that
  // finds no work always fits.
  std::optional<absl::Duration> Plan(const std::string& job_id, double gflop);

  // More (or less) of the job's work is known: `gflop` of it in all, what has run included. A job
  // that has been taken on is not refused for it.
  void Grow(const std::string& job_id, double gflop);

  // The job has got its place on the device.
  void Activate(const std::string& job_id);
  // `gflop` of the job's work have run.
  void Run(const std::string& job_id, double gflop);
  // The job has run all its work or has ended.
  void Remove(const std::string& job_id);

  // Time until the work that is left will be within its bound; zero: it is.
  absl::Duration Excess() const;

  // Of all jobs whose work is known.
  absl::Duration work_left() const;

  // Time until a job that is admitted now begins to denoise if the jobs that share the device
  // proceed evenly and wait in order of admission. Infinite: not known.
  absl::Duration ExpectedWait() const;

 private:
  struct Entry {
    std::string model;
    std::optional<double> gflop;  // left; empty: not known yet
    double run = 0;               // GFLOP
    bool active = false;
  };

  // Infinite: not known.
  absl::Duration TimeLeft(const Entry& entry, absl::Duration if_unplanned) const;

  const CostModel& cost_model_;
  const absl::Duration max_work_;
  const int max_active_jobs_;

  std::map<std::string, Entry, std::less<>> entries_;
  std::deque<std::string> order_;  // keys of `entries_` that are not active, in order of admission
  std::map<std::string, double> gflop_by_model_;  // sums over `entries_`
};

}  // namespace reenact
