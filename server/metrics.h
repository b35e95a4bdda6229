// What the server counts, in Prometheus' form. server/METRICS.md lists every metric; a test
// compares.
//
// Thread-safe.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "pipeline/types.h"

namespace reenact {

class Metrics final : public prometheus::Collectable {
 public:
  Metrics();

  // Changes of the numbers of jobs.
  void AddQueued(int change);
  void AddLive(int change);
  // Jobs that denoise, and those of them that are paused.
  void SetDevice(int running, int paused);

  void CountAccepted();
  // A call that did not become a job.
  void CountRefused(absl::StatusCode code);
  void CountEnded(absl::StatusCode code);

  // One call of Engine::Step for `num_rows` rows of `num_jobs` jobs.
  void ObserveStep(int num_jobs, int num_rows, absl::Duration duration);
  // Jobs that could have used rows of a step and got none.
  void CountPassedOver(int num_jobs);
  void SetQueuedWork(absl::Duration work);
  void ObserveTimeToFirstFrame(absl::Duration duration);
  void CountReceived(size_t num_bytes);
  void CountFrames(int64_t num_frames);
  void CountSent(size_t num_bytes);
  // Stage times of a job that succeeded.
  void ObserveSummary(const JobSummary& summary, absl::Duration queue, absl::Duration total);

  // Driving frames of live jobs that have been read, and those of them that were left out.
  void CountLiveFrames(int64_t num_read, int64_t num_skipped);
  // From the arrival of a live frame until its output was made.
  void ObserveLag(absl::Duration lag);

  // Extractions in memory, those that ended, and what came of one that succeeded.
  void AddExtractions(int change);
  void CountExtractionEnded(absl::StatusCode code);
  void ObserveExtraction(int64_t num_frames, absl::Duration duration);
  // Bytes of motion templates sent.
  void CountTemplateBytes(size_t num_bytes);

  void SetModels(const std::vector<ModelInfo>& models);
  void SetReady(bool ready);
  void SetDraining(bool draining);

  // `age` is called at every scrape: time since the scheduler thread last came round.
  void SetHeartbeatAge(std::function<absl::Duration()> age) ABSL_LOCKS_EXCLUDED(mu_);

  std::vector<prometheus::MetricFamily> Collect() const override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  prometheus::Histogram& Stage(std::string_view stage);

  // Provides its own synchronization; owns what the references point to.
  prometheus::Registry registry_;
  prometheus::Gauge& jobs_queued_;
  prometheus::Gauge& jobs_running_;
  prometheus::Gauge& jobs_paused_;
  prometheus::Gauge& jobs_live_;
  prometheus::Counter& jobs_accepted_;
  prometheus::Family<prometheus::Counter>& refused_;
  prometheus::Family<prometheus::Counter>& ended_;
  prometheus::Counter& steps_;
  prometheus::Histogram& step_jobs_;
  prometheus::Histogram& step_rows_;
  prometheus::Histogram& step_seconds_;
  prometheus::Counter& rows_;
  prometheus::Counter& passed_over_;
  prometheus::Gauge& queued_work_;
  prometheus::Family<prometheus::Histogram>& stage_seconds_;
  prometheus::Histogram& job_seconds_;
  prometheus::Histogram& first_frame_seconds_;
  prometheus::Counter& frames_;
  prometheus::Counter& received_bytes_;
  prometheus::Counter& sent_bytes_;
  prometheus::Counter& live_frames_;
  prometheus::Counter& live_skipped_;
  prometheus::Histogram& live_lag_seconds_;
  prometheus::Gauge& extractions_live_;
  prometheus::Family<prometheus::Counter>& extractions_ended_;
  prometheus::Histogram& extraction_seconds_;
  prometheus::Counter& extracted_frames_;
  prometheus::Counter& template_bytes_;
  prometheus::Gauge& heartbeat_age_;
  prometheus::Family<prometheus::Gauge>& model_info_;
  prometheus::Gauge& ready_;
  prometheus::Gauge& draining_;

  mutable Mutex mu_;
  std::function<absl::Duration()> heartbeat_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact
