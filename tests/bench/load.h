// Load on a server: which jobs there are, how they are sent, what came of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/tool/interruption.h"
#include "tests/bench/report.h"

namespace reenact::bench {

// One job to send.
struct LoadJob {
  int num_frames = 0;  // names the driving clip
  std::optional<int> num_steps;
  v1::Sampler sampler = v1::SAMPLER_UNSPECIFIED;
  uint64_t seed = 0;
  // The client cancels it when the server reports this share of its denoising steps, 0..1.
  std::optional<double> cancel_at;
  // The client waits before it reads each further answer.
  bool slow_reader = false;
};

// What jobs are drawn from. Lists are dealt out in turn, so each value occurs equally often.
struct LoadMix {
  std::vector<int> num_frames;
  std::vector<std::optional<int>> num_steps;
  std::vector<v1::Sampler> samplers;
  double cancel_share = 0;       // of the jobs, rounded to whole jobs
  double slow_reader_share = 0;  // likewise
};

// A pure function: the same mix, count and seed give the same jobs in the same order. Cancelled
// jobs and slow readers are drawn at random; a job is not both.
std::vector<LoadJob> MakeJobs(const LoadMix& mix, int count, uint64_t seed);

// What became of one job. Times in seconds since the load began.
struct LoadOutcome {
  absl::Status status;
  double start = 0;
  double end = 0;
  std::optional<double> first_frame;  // the first answer with frames in it
  int num_frames = 0;                 // received
  std::optional<double> cancelled;    // when the client cancelled
  bool slow_reader = false;
  int64_t bytes = 0;
  v1::StageTimes stage_times;  // of a job that succeeded
};

// How jobs reach the server. Everything but the list of jobs.
struct LoadOptions {
  v1::JobConfig config;              // source, output, plan; LoadJob adds the rest
  std::map<int, std::string> clips;  // by frames
  absl::Duration deadline = absl::InfiniteDuration();
  absl::Duration slow_reader_wait = absl::Milliseconds(200);
  // No further job is started after this; those that run are waited for.
  absl::Duration duration = absl::InfiniteDuration();
  // Open loop: jobs that may be in flight; beyond it arrivals are counted as not sent.
  size_t max_in_flight = 1000;
};

struct LoadResult {
  std::vector<LoadOutcome> outcomes;  // of the jobs sent, in the order of their ends
  double seconds = 0;                 // from the first start to the last end
  int not_sent = 0;                   // open loop: arrivals over max_in_flight
};

// Sends one job and reads all of its answers. Thread-safe.
LoadOutcome RunJob(Client& client, const LoadJob& job, const LoadOptions& options,
                   const std::function<double()>& now, const tool::Interruption& interruption);

// `num_clients` clients, each sends its next job when the one before is over. A refused client
// waits as long as the server said (2 s at most).
LoadResult RunClosedLoop(Client& client, const std::vector<LoadJob>& jobs, int num_clients,
                         const LoadOptions& options, const tool::Interruption& interruption);

// Job i is sent at arrivals[i], whatever became of the others.
LoadResult RunOpenLoop(Client& client, const std::vector<LoadJob>& jobs,
                       const std::vector<double>& arrivals, const LoadOptions& options,
                       const tool::Interruption& interruption);

// The result's fields for a report: counts, rates, percentiles, outcomes by status code. `goodput`
// counts jobs that succeeded (so within the deadline) and frames of theirs. Percentiles are of
// those jobs too, slow readers left out; null if there are none.
Json Describe(const LoadResult& result);

}  // namespace reenact::bench
