#include "server/job_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/call_terms.h"
#include "server/convert.h"
#include "server/log.h"
#include "server/status_details.h"

namespace reenact {
namespace {

// A job is named by its id or by its key.
template <typename Request>
absl::Status CheckNamed(const Request& request) {
  if (request.job_id().empty() != request.idempotency_key().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("job_id and idempotency_key are ",
                                                 request.job_id().empty() ? "not" : "both",
                                                 " set, must be one of them"));
}

absl::Status NoSuchJob(const std::string& job_id) {
  return absl::NotFoundError(absl::StrCat("job_id is \"", job_id, "\": no such job"));
}

absl::Status NoSuchKey() { return absl::NotFoundError("idempotency_key: no such job"); }

// GFLOP of the whole job.
double WorkOf(const JobPlan& plan) {
  return static_cast<double>(plan.total_steps) * plan.gflop_per_row_step;
}

LogLevel EndLevel(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInternal ? LogLevel::kError : LogLevel::kInfo;
}

}  // namespace

JobRunner::JobRunner(const ServerConfig& config, Engine& engine, Clock& clock, Heartbeat& heartbeat,
                     Metrics& metrics, Turns turns)
    : config_(config),
      engine_(engine),
      clock_(clock),
      metrics_(metrics),
      cost_model_(engine.models()),
      backlog_(cost_model_, config.max_queued_work, config.max_active_jobs),
      resumable_(config.resume_timeout, static_cast<size_t>(config.max_jobs)),
      extractions_(config, engine, clock, metrics,
                   turns == Turns::kOwnThreads ? config.extraction_threads : 0),
      scheduler_({.limits = {.max_rows = config.max_batch_rows,
                             .max_rows_ahead = config.max_rows_ahead,
                             .max_active_jobs = config.max_active_jobs}},
                 engine, clock, cost_model_, heartbeat, metrics, *this),
      preparation_(turns == Turns::kOwnThreads ? config.preparation_threads : 0,
                   [this](const std::shared_ptr<Job>& job) { Prepare(job); }),
      render_(turns == Turns::kOwnThreads ? config.render_threads : 0,
              [this](const std::shared_ptr<Job>& job) { Render(job); }) {
  if (turns == Turns::kOwnThreads) scheduler_thread_ = std::thread([this] { scheduler_.Run(); });
}

JobRunner::~JobRunner() {
  StopAdmitting();
  // The calls of the engine that are running end soon; the jobs end below.
  for (const std::shared_ptr<Job>& job : LiveJobs()) {
    RequestEnd(job, absl::UnavailableError("the server has stopped"));
  }
  scheduler_.Stop();
  if (scheduler_thread_.joinable()) scheduler_thread_.join();
  preparation_.Stop();
  render_.Stop();
  for (const std::shared_ptr<Job>& job : LiveJobs()) {
    EndJob(job, absl::UnavailableError("the server has stopped"));
  }
}

absl::StatusOr<std::shared_ptr<Job>> JobRunner::Admit(JobRequest request, absl::Time deadline,
                                                      std::weak_ptr<Job::Listener> listener,
                                                      JobTerms terms) {
  const absl::Time now = clock_.TimeNow();
  request.job_id = NewCallId();
  const auto job =
      std::make_shared<Job>(std::move(request),
                            Job::Limits{.max_inbox_bytes = config_.max_inbox_bytes,
                                        .max_outbox_bytes = config_.max_outbox_bytes,
                                        .resume_buffer_bytes = config_.resume_buffer_bytes,
                                        .resume_timeout = config_.resume_timeout,
                                        .receive_timeout = config_.receive_timeout,
                                        .max_duration = config_.max_job_duration},
                            now, std::min(deadline, now + config_.max_job_duration),
                            std::move(listener), std::move(terms));
  int queue_position = 0;
  absl::Duration expected_wait, delay;
  absl::Status refusal;
  {
    MutexLock lock(&mu_);
    delay = backlog_.Excess();
    if (!admitting_) {
      refusal = absl::UnavailableError("the server is draining; try another one");
    } else if (num_queued_ >= config_.max_queued_jobs) {
      refusal = absl::ResourceExhaustedError(
          absl::StrCat("the queue is full (", config_.max_queued_jobs, " jobs); try again later"));
    } else if (live_.size() >= static_cast<size_t>(config_.max_jobs)) {
      refusal = absl::ResourceExhaustedError(absl::StrCat(
          "the server holds as many jobs as it may (", config_.max_jobs, "); try again later"));
    } else if (delay > absl::ZeroDuration()) {
      refusal = TooMuchWork();
    } else {
      expected_wait = backlog_.ExpectedWait();
      queue_position = num_queued_++;
      live_.emplace(job->id(), Entry{job});
      backlog_.Add(job->id(), job->model());
    }
  }
  if (refusal.code() == absl::StatusCode::kResourceExhausted) {
    return WithRetryDelay(std::move(refusal), std::max(delay, config_.retry_delay));
  }
  if (!refusal.ok()) return refusal;

  metrics_.CountAccepted();
  metrics_.AddQueued(1);
  metrics_.AddLive(1);
  LogJob(LogLevel::kInfo, job->id(), job->tenant(), "job accepted",
         {{"model", job->model()}, {"queue_position", int64_t{queue_position}}});
  job->PushAccepted(queue_position, expected_wait);
  scheduler_.Watch(job);
  // The source is looked at before the driving media is there: a bad one fails early.
  if (job->RequestPreparation()) preparation_.Enqueue(job);
  return job;
}

void JobRunner::PushInput(const std::shared_ptr<Job>& job, std::string bytes) {
  metrics_.CountReceived(bytes.size());
  job->NoteInput(clock_.TimeNow());
  if (job->PushInput(std::move(bytes))) preparation_.Enqueue(job);
}

void JobRunner::PushFrame(const std::shared_ptr<Job>& job, LiveFrame frame) {
  metrics_.CountReceived(frame.image.size());
  job->NoteInput(clock_.TimeNow());
  if (job->PushFrame(std::move(frame))) preparation_.Enqueue(job);
}

void JobRunner::FinishInput(const std::shared_ptr<Job>& job) {
  if (job->FinishInput()) preparation_.Enqueue(job);
}

void JobRunner::CompleteInput(const std::shared_ptr<Job>& job) {
  if (job->CompleteInput()) preparation_.Enqueue(job);
}

Job::Answer JobRunner::NextAnswer(const std::shared_ptr<Job>& job, const Job::Listener* caller) {
  Job::Answer answer = job->NextAnswer(caller);
  if (answer.next == Job::Next::kEnded && !answer.taken_over) {
    // EndJob() is not through; it tells the listener when it is.
    MutexLock lock(&mu_);
    if (live_.contains(job->id())) return {};
  }
  const int64_t media_bytes = MediaBytes(answer.response);
  if (media_bytes > 0) metrics_.CountSent(static_cast<size_t>(media_bytes));
  if (answer.made_room) {
    if (job->RequestRender()) render_.Enqueue(job);
    scheduler_.Wake();
  }
  return answer;
}

void JobRunner::OnSummarySent(const std::shared_ptr<Job>& job) { EndJob(job, absl::OkStatus()); }

absl::Status JobRunner::TooMuchWork() const {
  return absl::ResourceExhaustedError(
      absl::StrCat("the jobs before this one leave no room in the queue (",
                   absl::FormatDuration(config_.max_queued_work), " of work); try again later"));
}

void JobRunner::RequestEnd(const std::shared_ptr<Job>& job, absl::Status status) {
  job->RequestEnd(std::move(status));
  CancelEngineJob(*job);
  scheduler_.Wake();
}

void JobRunner::CancelEngineJob(Job& job) {
  // Without an engine object: either the job has ended, or PrepareOnce() sees the request to end
  // when it has made one.
  if (const Job::EngineUse engine_job(job); engine_job.get() != nullptr) engine_job->Cancel();
}

std::shared_ptr<Job> JobRunner::FindLive(const std::string& job_id,
                                         const std::string& tenant) const {
  MutexLock lock(&mu_);
  const auto live = live_.find(job_id);
  return live == live_.end() || live->second.job->tenant() != tenant ? nullptr : live->second.job;
}

absl::StatusOr<v1::Job> JobRunner::GetJob(const std::string& job_id,
                                          const std::string& tenant) const {
  if (const std::shared_ptr<Job> job = FindLive(job_id, tenant); job != nullptr) {
    return job->Snapshot();
  }
  MutexLock lock(&mu_);
  const auto ended = remembered_.find(job_id);
  // The id of another tenant's job is not confirmed.
  if (ended == remembered_.end() || ended->second.tenant != tenant) return NoSuchJob(job_id);
  return ended->second.job;
}

absl::StatusOr<v1::Job> JobRunner::CancelJob(const std::string& job_id, const std::string& tenant) {
  const std::shared_ptr<Job> job = FindLive(job_id, tenant);
  if (job != nullptr) RequestEnd(job, absl::CancelledError("cancelled by CancelJob"));
  return GetJob(job_id, tenant);
}

absl::StatusOr<v1::Job> JobRunner::CancelJob(const std::string& tenant,
                                             const v1::CancelJobRequest& request) {
  if (const absl::Status named = CheckNamed(request); !named.ok()) return named;
  if (!request.job_id().empty()) return CancelJob(request.job_id(), tenant);
  const std::shared_ptr<Job> job = resumable_.FindByKey(tenant, request.idempotency_key());
  if (job == nullptr) return NoSuchKey();
  return CancelJob(job->id(), tenant);
}

absl::StatusOr<JobRunner::Begun> JobRunner::Begin(JobRequest request, absl::Time deadline,
                                                  std::weak_ptr<Job::Listener> listener,
                                                  JobTerms terms) {
  if (terms.idempotency_key.empty()) {
    absl::StatusOr<std::shared_ptr<Job>> admitted =
        Admit(std::move(request), deadline, std::move(listener), std::move(terms));
    if (!admitted.ok()) return admitted.status();
    return Begun{.job = *std::move(admitted)};
  }
  resumable_.Purge(clock_.TimeNow());
  MutexLock lock(&begin_mu_);
  if (const auto job = resumable_.FindByKey(terms.tenant, terms.idempotency_key); job != nullptr) {
    if (job->terms().config_hash != terms.config_hash) {
      return absl::InvalidArgumentError(
          absl::StrCat("idempotency_key is that of job ", job->id(),
                       ", which has another config, must be a new one"));
    }
    if (job->input_complete()) {
      if (const absl::Status taken = TakeOver(job, 0, deadline, std::move(listener)); !taken.ok()) {
        return absl::AlreadyExistsError(
            absl::StrCat("idempotency_key is that of job ", job->id(),
                         ", whose first answers are not kept any more: resume it"));
      }
      return Begun{.job = job, .was_there = true};
    }
    // Nobody can complete it any more: the client starts it anew.
    RequestEnd(job, absl::CancelledError("started anew by another call with its key"));
    resumable_.Forget(*job);
  }
  absl::StatusOr<std::shared_ptr<Job>> admitted =
      Admit(std::move(request), deadline, std::move(listener), std::move(terms));
  if (!admitted.ok()) return admitted.status();
  resumable_.Add(*admitted);
  // EndJob() may have come before it was added.
  if ((*admitted)->ended()) resumable_.OnEnded(*admitted, clock_.TimeNow());
  return Begun{.job = *std::move(admitted)};
}

absl::StatusOr<std::shared_ptr<Job>> JobRunner::Resume(const std::string& tenant,
                                                       const v1::ResumeJobRequest& request,
                                                       absl::Time deadline,
                                                       std::weak_ptr<Job::Listener> listener) {
  if (const absl::Status named = CheckNamed(request); !named.ok()) return named;
  resumable_.Purge(clock_.TimeNow());
  std::shared_ptr<Job> job;
  if (!request.job_id().empty()) {
    job = resumable_.FindById(tenant, request.job_id());
    if (job == nullptr) job = FindLive(request.job_id(), tenant);
    if (job == nullptr) return NoSuchJob(request.job_id());
  } else {
    job = resumable_.FindByKey(tenant, request.idempotency_key());
    if (job == nullptr) return NoSuchKey();
  }
  // Ended a moment ago, and not forgotten yet.
  if (job->abandoned()) return NoSuchJob(job->id());
  if (const absl::Status taken =
          TakeOver(job, request.next_sequence_number(), deadline, std::move(listener));
      !taken.ok()) {
    return taken;
  }
  return job;
}

absl::Status JobRunner::TakeOver(const std::shared_ptr<Job>& job, uint64_t next_sequence_number,
                                 absl::Time deadline, std::weak_ptr<Job::Listener> listener) {
  const absl::StatusOr<std::shared_ptr<Job::Listener>> former =
      job->Attach(std::move(listener), next_sequence_number, deadline);
  if (!former.ok()) return former.status();
  LogJob(LogLevel::kInfo, job->id(), job->tenant(), "job taken over by another call",
         {{"next_sequence_number", static_cast<int64_t>(next_sequence_number)}});
  // It is to end now.
  if (*former != nullptr) (*former)->OnJobChanged();
  // The job may be overdue at another time now.
  scheduler_.Wake();
  return absl::OkStatus();
}

void JobRunner::CallLost(const std::shared_ptr<Job>& job, const Job::Listener* listener,
                         const absl::Status& status) {
  if (absl::IsDeadlineExceeded(status)) {
    if (job->IsFollowedBy(listener)) RequestEnd(job, status);
    return;
  }
  switch (job->Detach(listener, clock_.TimeNow())) {
    case Job::Loss::kNotFollowing:
      return;
    case Job::Loss::kDetached:
      LogJob(LogLevel::kInfo, job->id(), job->tenant(), "job has lost its call", {});
      scheduler_.Wake();
      return;
    case Job::Loss::kEnds:
      RequestEnd(job, status);
  }
}

void JobRunner::StopAdmitting() {
  extractions_.StopAdmitting();
  MutexLock lock(&mu_);
  admitting_ = false;
}

void JobRunner::CancelAll(const absl::Status& status) {
  extractions_.EndAll(status);
  for (const std::shared_ptr<Job>& job : LiveJobs()) RequestEnd(job, status);
}

bool JobRunner::AwaitIdle(absl::Time deadline) {
  if (!extractions_.AwaitIdle(deadline)) return false;
  MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return live_.empty(); };
  return clock_.AwaitWithDeadline(&mu_, absl::Condition(&idle), deadline);
}

std::vector<std::shared_ptr<Job>> JobRunner::LiveJobs() const {
  std::vector<std::shared_ptr<Job>> jobs;
  MutexLock lock(&mu_);
  for (const auto& [id, entry] : live_) jobs.push_back(entry.job);
  return jobs;
}

void JobRunner::EndJob(const std::shared_ptr<Job>& job, const absl::Status& status) {
  // A call of the engine that is running for a job that fails, expires or is cancelled has become
  // useless; the engine's object cannot go before it is over.
  if (!status.ok()) {
    job->RequestEnd(status);
    CancelEngineJob(*job);
  }
  const absl::Status for_caller = ForCaller(status, job->id());
  if (!job->End(for_caller, clock_.TimeNow())) return;

  const v1::Job snapshot = job->Snapshot();
  resumable_.OnEnded(job, clock_.TimeNow());
  {
    MutexLock lock(&mu_);
    const auto entry = live_.find(job->id());
    if (entry->second.queued) {
      --num_queued_;
      metrics_.AddQueued(-1);
    }
    live_.erase(entry);
    backlog_.Remove(job->id());
    metrics_.SetQueuedWork(backlog_.work_left());
    // Before anybody can be told: see NextAnswer().
    metrics_.AddLive(-1);
    metrics_.CountEnded(for_caller.code());
    remembered_.emplace(job->id(), Remembered{snapshot, job->tenant()});
    remembered_order_.push_back(job->id());
    if (remembered_order_.size() > static_cast<size_t>(config_.max_remembered_jobs)) {
      remembered_.erase(remembered_order_.front());
      remembered_order_.pop_front();
    }
  }
  LogJob(EndLevel(for_caller), job->id(), job->tenant(), "job ended",
         {{"code", std::string(StatusCodeName(for_caller.code()))},
          {"error", std::string(status.message())},
          {"steps", snapshot.progress().step()},
          {"frames", snapshot.progress().frames_done()},
          {"seconds", absl::ToDoubleSeconds(clock_.TimeNow() - job->created())}});
  job->NotifyListener();
  scheduler_.Wake();
}

void JobRunner::OnActivated(const std::shared_ptr<Job>& job) {
  bool was_queued = false;
  {
    MutexLock lock(&mu_);
    const auto entry = live_.find(job->id());
    if (entry != live_.end()) was_queued = std::exchange(entry->second.queued, false);
    if (was_queued) --num_queued_;
    backlog_.Activate(job->id());
  }
  if (was_queued) metrics_.AddQueued(-1);
  job->NotifyListener();
}

void JobRunner::OnStepped(const std::shared_ptr<Job>& job, int num_rows) {
  const double gflop = num_rows * job->plan().gflop_per_row_step;
  const bool denoised = job->denoised();
  {
    MutexLock lock(&mu_);
    backlog_.Grow(job->id(), WorkOf(job->plan()));
    backlog_.Run(job->id(), gflop);
    if (denoised) backlog_.Remove(job->id());
    metrics_.SetQueuedWork(backlog_.work_left());
  }
  if (job->RequestRender()) render_.Enqueue(job);
  if (job->ResumePreparation()) preparation_.Enqueue(job);
  job->NotifyListener();
}

void JobRunner::Prepare(const std::shared_ptr<Job>& job) {
  const absl::StatusOr<EngineJob::Preparation> prepared = PrepareOnce(job);
  if (!prepared.ok()) EndEarly(job, prepared.status());
  job->NotifyListener();
  // One Prepare call a turn, so that jobs share the threads.
  if (job->EndPreparationTurn(prepared.value_or(EngineJob::Preparation::kDone))) {
    preparation_.Enqueue(job);
  }
}

void JobRunner::EndEarly(const std::shared_ptr<Job>& job, const absl::Status& status) {
  // The end that was asked for first is the one to be told, and often the cause of the other.
  const absl::Status requested = job->requested_end();
  EndJob(job, requested.ok() ? status : requested);
}

absl::StatusOr<EngineJob::Preparation> JobRunner::PrepareOnce(const std::shared_ptr<Job>& job) {
  constexpr auto kNoMore = EngineJob::Preparation::kDone;
  Job::Input input = job->TakeInput();
  // While it waited to be read here, the caller may not have been able to send.
  if (input.has_media()) job->NoteInput(clock_.TimeNow());
  // The end that was asked for first is the one to be told.
  if (!job->requested_end().ok()) return kNoMore;
  if (const std::optional<JobRequest> request = job->TakeRequest(); request.has_value()) {
    absl::StatusOr<std::unique_ptr<EngineJob>> engine_job = engine_.CreateJob(*request);
    if (!engine_job.ok()) return engine_job.status();
    job->SetEngineJob(*std::move(engine_job));
    if (!job->requested_end().ok()) return kNoMore;
  }
  // After the source: whichever comes first from the client, a bad source is told first.
  if (input.finished && job->received_bytes() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(job->live() ? "driving_frame" : "driving_chunk",
                                                   ": the stream ended without driving media"));
  }
  const Job::EngineUse engine_job(*job);
  if (engine_job.get() == nullptr) return kNoMore;  // ended by another thread
  for (const std::string& chunk : input.chunks) {
    if (const absl::Status status = engine_job->AddDriving(chunk); !status.ok()) return status;
    // A job that has been cancelled need not read on.
    if (!job->requested_end().ok()) return kNoMore;
  }
  for (LiveFrame& frame : input.frames) {
    if (const absl::Status status = engine_job->AddFrame(std::move(frame)); !status.ok()) {
      return status;
    }
  }
  if (input.finished) {
    job->MoveTo(JobState::kPreparing, clock_.TimeNow());  // unless it is further already
    if (const absl::Status status = engine_job->FinishDriving(); !status.ok()) return status;
  }
  if (!input.has_media() && !input.finished && !job->preparation_due()) {
    return EngineJob::Preparation::kNeedsInput;
  }
  job->NotifyListener();  // the inbox has room
  const absl::StatusOr<EngineJob::Preparation> prepared = engine_job->Prepare();
  if (!prepared.ok()) return prepared.status();
  if (const absl::Status status = TakePreparation(job, *engine_job.get()); !status.ok()) {
    return status;
  }
  return *prepared;
}

absl::Status JobRunner::TakePreparation(const std::shared_ptr<Job>& job, EngineJob& engine_job) {
  TakeLiveStatus(*job, engine_job);
  const JobPlan plan = engine_job.plan();
  job->SetPlan(plan);
  if (plan.num_rows == 0) return absl::OkStatus();
  const JobState state = job->state();
  if (state == JobState::kReceiving || state == JobState::kPreparing) {
    if (const std::optional<absl::Duration> delay = TakeOn(job->id(), plan); delay.has_value()) {
      return WithRetryDelay(TooMuchWork(), std::max(*delay, config_.retry_delay));
    }
    job->MoveTo(JobState::kWaiting, clock_.TimeNow());
  } else {
    MutexLock lock(&mu_);
    backlog_.Grow(job->id(), WorkOf(plan));
    metrics_.SetQueuedWork(backlog_.work_left());
  }
  // A job may turn out to be at its end when all of its rows have run already.
  if (engine_job.denoised()) {
    job->NoteDenoised();
    MutexLock lock(&mu_);
    backlog_.Remove(job->id());
    metrics_.SetQueuedWork(backlog_.work_left());
  }
  scheduler_.Wake();
  if ((engine_job.renderable() || job->denoised()) && job->RequestRender()) render_.Enqueue(job);
  return absl::OkStatus();
}

void JobRunner::TakeLiveStatus(Job& job, const EngineJob& engine_job) {
  if (!job.live()) return;
  const LiveStatus grown = job.SetLiveStatus(engine_job.live_status());
  metrics_.CountLiveFrames(grown.frames_in, grown.frames_skipped);
}

std::optional<absl::Duration> JobRunner::TakeOn(const std::string& job_id, const JobPlan& plan) {
  MutexLock lock(&mu_);
  const std::optional<absl::Duration> delay = backlog_.Plan(job_id, WorkOf(plan));
  metrics_.SetQueuedWork(backlog_.work_left());
  return delay;
}

void JobRunner::Render(const std::shared_ptr<Job>& job) {
  job->BeginRenderTurn();
  const absl::StatusOr<bool> more = RenderOnce(*job);
  if (!more.ok()) EndEarly(job, more.status());
  job->NotifyListener();
  // One Render call a turn, so that jobs share the threads.
  if ((more.ok() && *more) || job->EndRenderTurn()) render_.Enqueue(job);
}

absl::StatusOr<bool> JobRunner::RenderOnce(Job& job) {
  const Job::EngineUse engine_job(job);
  if (engine_job.get() == nullptr || job.has_summary()) return false;
  bool rendered_some = false;
  if (!job.outbox_full() && engine_job->renderable()) {
    job.NoteRender();
    scheduler_.Wake();  // the job may have been paused, and can go on while it is rendered
    absl::StatusOr<std::vector<Output>> outputs = engine_job->Render();
    if (!outputs.ok()) return outputs.status();
    int64_t num_frames = 0;
    for (const Output& output : *outputs) num_frames += output.num_frames;
    metrics_.CountFrames(num_frames);
    if (job.PushOutputs(*std::move(outputs), engine_job->frames_done())) {
      metrics_.ObserveTimeToFirstFrame(clock_.TimeNow() - job.created());
    }
    if (job.live()) {
      TakeLiveStatus(job, *engine_job.get());
      if (num_frames > 0) metrics_.ObserveLag(engine_job->live_status().lag);
    }
    rendered_some = true;
    scheduler_.Wake();  // the job may have been paused
  }
  if (!job.denoised() || !engine_job->rendered()) return rendered_some;
  const absl::Time now = clock_.TimeNow();
  const JobSummary summary = engine_job->Summary();
  metrics_.ObserveSummary(summary, job.queue_time(), now - job.created());
  job.PushSummary(summary, engine_job->plan(), now);
  return false;
}

}  // namespace reenact
