#include "server/metrics.h"

#include <string>
#include <utility>

#include "server/status_details.h"

namespace reenact {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using Buckets = prometheus::Histogram::BucketBoundaries;

// Steps last milliseconds on a GPU and seconds on a CPU.
Buckets StepBuckets() { return {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30}; }

// From a short clip's stage to the longest job.
Buckets JobBuckets() { return {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600}; }

// From one frame of a camera to an output that has fallen far behind.
Buckets LagBuckets() { return {0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 100}; }

Buckets CountBuckets() { return {1, 2, 3, 4, 6, 8, 12, 16, 32}; }

prometheus::Gauge& AddGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Counter& AddCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Histogram& AddHistogram(prometheus::Registry& registry, const char* name,
                                    const char* help, const Buckets& buckets) {
  return BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

prometheus::Labels CodeLabel(absl::StatusCode code) {
  return {{"code", std::string(StatusCodeName(code))}};
}

}  // namespace

Metrics::Metrics()
    : jobs_queued_(AddGauge(registry_, "reenact_jobs_queued",
                            "Jobs admitted that have not begun to denoise.")),
      jobs_running_(
          AddGauge(registry_, "reenact_jobs_running", "Jobs that denoise, paused ones included.")),
      jobs_paused_(
          AddGauge(registry_, "reenact_jobs_paused",
                   "Jobs that would denoise but wait for their output to be rendered or read.")),
      jobs_live_(AddGauge(registry_, "reenact_jobs_live",
                          "Jobs in memory, until their last byte is sent.")),
      jobs_accepted_(AddCounter(registry_, "reenact_jobs_accepted_total", "Jobs admitted.")),
      refused_(BuildCounter()
                   .Name("reenact_requests_refused_total")
                   .Help("Calls that became no job and no extraction, by gRPC status code.")
                   .Register(registry_)),
      ended_(BuildCounter()
                 .Name("reenact_jobs_ended_total")
                 .Help("Jobs that ended, by gRPC status code.")
                 .Register(registry_)),
      steps_(AddCounter(registry_, "reenact_steps_total", "Denoising steps run on the device.")),
      step_jobs_(AddHistogram(registry_, "reenact_step_jobs", "Jobs that shared a denoising step.",
                              CountBuckets())),
      step_rows_(AddHistogram(registry_, "reenact_step_rows", "Rows of frames in a denoising step.",
                              CountBuckets())),
      step_seconds_(AddHistogram(registry_, "reenact_step_seconds", "Time of one denoising step.",
                                 StepBuckets())),
      rows_(AddCounter(registry_, "reenact_rows_total",
                       "Rows of frames in denoising steps, summed over the steps.")),
      passed_over_(AddCounter(registry_, "reenact_passed_over_total",
                              "Times that a job could have used rows of a step and got none.")),
      queued_work_(AddGauge(registry_, "reenact_queued_work_seconds",
                            "Denoising work before the admitted jobs, as time on the device.")),
      stage_seconds_(BuildHistogram()
                         .Name("reenact_stage_seconds")
                         .Help("Time a job that succeeded spent in a stage.")
                         .Register(registry_)),
      job_seconds_(AddHistogram(registry_, "reenact_job_seconds",
                                "From admission to the summary of jobs that succeeded.",
                                JobBuckets())),
      first_frame_seconds_(AddHistogram(registry_, "reenact_time_to_first_frame_seconds",
                                        "From admission to the first frame ready to be sent.",
                                        JobBuckets())),
      frames_(AddCounter(registry_, "reenact_frames_total", "Frames generated and encoded.")),
      received_bytes_(AddCounter(registry_, "reenact_received_bytes_total",
                                 "Bytes of driving media taken in.")),
      sent_bytes_(AddCounter(registry_, "reenact_sent_bytes_total",
                             "Bytes of generated media handed to gRPC.")),
      live_frames_(AddCounter(registry_, "reenact_live_frames_total",
                              "Driving frames of live jobs that have been read.")),
      live_skipped_(AddCounter(registry_, "reenact_live_frames_skipped_total",
                               "Driving frames of live jobs that were left out.")),
      live_lag_seconds_(AddHistogram(registry_, "reenact_live_lag_seconds",
                                     "From the arrival of a live frame until its output is made.",
                                     LagBuckets())),
      extractions_live_(
          AddGauge(registry_, "reenact_extractions_live", "ExtractMotion calls in memory.")),
      extractions_ended_(BuildCounter()
                             .Name("reenact_extractions_ended_total")
                             .Help("Extractions that ended, by gRPC status code.")
                             .Register(registry_)),
      extraction_seconds_(AddHistogram(registry_, "reenact_extraction_seconds",
                                       "From admission to the summary of extractions that "
                                       "succeeded.",
                                       JobBuckets())),
      extracted_frames_(AddCounter(registry_, "reenact_extracted_frames_total",
                                   "Driving frames read into motion templates that succeeded.")),
      template_bytes_(AddCounter(registry_, "reenact_template_bytes_total",
                                 "Bytes of motion templates handed to gRPC.")),
      heartbeat_age_(AddGauge(registry_, "reenact_worker_heartbeat_age_seconds",
                              "Time since the scheduler thread last came round.")),
      model_info_(BuildGauge()
                      .Name("reenact_model_info")
                      .Help("1 for each loaded model.")
                      .Register(registry_)),
      ready_(AddGauge(registry_, "reenact_ready", "1 if jobs are admitted.")),
      draining_(AddGauge(registry_, "reenact_draining", "1 after SIGTERM.")) {
  // Series that exist from the start: a rate over them begins at zero.
  for (const char* stage : {"queue", "decode", "landmarks", "embed", "denoise", "render"}) {
    Stage(stage);
  }
  ended_.Add(CodeLabel(absl::StatusCode::kOk));
  extractions_ended_.Add(CodeLabel(absl::StatusCode::kOk));
  refused_.Add(CodeLabel(absl::StatusCode::kResourceExhausted));
}

prometheus::Histogram& Metrics::Stage(std::string_view stage) {
  return stage_seconds_.Add({{"stage", std::string(stage)}}, JobBuckets());
}

void Metrics::AddQueued(int change) { jobs_queued_.Increment(change); }

void Metrics::AddLive(int change) { jobs_live_.Increment(change); }

void Metrics::SetDevice(int running, int paused) {
  jobs_running_.Set(running);
  jobs_paused_.Set(paused);
}

void Metrics::CountAccepted() { jobs_accepted_.Increment(); }

void Metrics::CountRefused(absl::StatusCode code) { refused_.Add(CodeLabel(code)).Increment(); }

void Metrics::CountEnded(absl::StatusCode code) { ended_.Add(CodeLabel(code)).Increment(); }

void Metrics::ObserveStep(int num_jobs, int num_rows, absl::Duration duration) {
  steps_.Increment();
  step_jobs_.Observe(num_jobs);
  step_rows_.Observe(num_rows);
  rows_.Increment(num_rows);
  step_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::CountPassedOver(int num_jobs) { passed_over_.Increment(num_jobs); }

void Metrics::SetQueuedWork(absl::Duration work) { queued_work_.Set(absl::ToDoubleSeconds(work)); }

void Metrics::ObserveTimeToFirstFrame(absl::Duration duration) {
  first_frame_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::CountReceived(size_t num_bytes) {
  received_bytes_.Increment(static_cast<double>(num_bytes));
}

void Metrics::CountFrames(int64_t num_frames) {
  frames_.Increment(static_cast<double>(num_frames));
}

void Metrics::CountSent(size_t num_bytes) { sent_bytes_.Increment(static_cast<double>(num_bytes)); }

void Metrics::ObserveSummary(const JobSummary& summary, absl::Duration queue,
                             absl::Duration total) {
  Stage("queue").Observe(absl::ToDoubleSeconds(queue));
  Stage("decode").Observe(absl::ToDoubleSeconds(summary.decode_time));
  Stage("landmarks").Observe(absl::ToDoubleSeconds(summary.landmark_time));
  Stage("embed").Observe(absl::ToDoubleSeconds(summary.embed_time));
  Stage("denoise").Observe(absl::ToDoubleSeconds(summary.denoise_time));
  Stage("render").Observe(absl::ToDoubleSeconds(summary.render_time));
  job_seconds_.Observe(absl::ToDoubleSeconds(total));
}

void Metrics::CountLiveFrames(int64_t num_read, int64_t num_skipped) {
  live_frames_.Increment(static_cast<double>(num_read));
  live_skipped_.Increment(static_cast<double>(num_skipped));
}

void Metrics::ObserveLag(absl::Duration lag) {
  live_lag_seconds_.Observe(absl::ToDoubleSeconds(lag));
}

void Metrics::AddExtractions(int change) { extractions_live_.Increment(change); }

void Metrics::CountExtractionEnded(absl::StatusCode code) {
  extractions_ended_.Add(CodeLabel(code)).Increment();
}

void Metrics::ObserveExtraction(int64_t num_frames, absl::Duration duration) {
  extracted_frames_.Increment(static_cast<double>(num_frames));
  extraction_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::CountTemplateBytes(size_t num_bytes) {
  template_bytes_.Increment(static_cast<double>(num_bytes));
}

void Metrics::SetModels(const std::vector<ModelInfo>& models) {
  for (const ModelInfo& model : models) {
    model_info_.Add({{"model", model.name}, {"bundle_sha256", model.bundle_sha256}}).Set(1);
  }
}

void Metrics::SetReady(bool ready) { ready_.Set(ready ? 1 : 0); }

void Metrics::SetDraining(bool draining) { draining_.Set(draining ? 1 : 0); }

void Metrics::SetHeartbeatAge(std::function<absl::Duration()> age) {
  MutexLock lock(&mu_);
  heartbeat_ = std::move(age);
}

std::vector<prometheus::MetricFamily> Metrics::Collect() const {
  std::function<absl::Duration()> age;
  {
    MutexLock lock(&mu_);
    age = heartbeat_;
  }
  if (age) heartbeat_age_.Set(absl::ToDoubleSeconds(age()));
  return registry_.Collect();
}

}  // namespace reenact
