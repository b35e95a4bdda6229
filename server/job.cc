#include "server/job.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/proto_time.h"

namespace reenact {
namespace {

bool Same(const JobPlan& a, const JobPlan& b) {
  return a.num_frames == b.num_frames && a.num_rows == b.num_rows &&
         a.total_steps == b.total_steps && a.complete == b.complete;
}

// Only the number of frames never falls before the plan is complete.
bool IsOlder(const JobPlan& a, const JobPlan& b) {
  return a.complete == b.complete ? a.num_frames < b.num_frames : b.complete;
}

}  // namespace

Job::Job(JobRequest request, Limits limits, absl::Time created, absl::Time deadline,
         std::weak_ptr<Listener> listener, JobTerms terms)
    : id_(request.job_id),
      model_(request.model),
      terms_(std::move(terms)),
      format_(request.format),
      live_(request.live.has_value()),
      limits_(limits),
      created_(created),
      listener_(std::move(listener)),
      call_deadline_(deadline),
      request_(std::move(request)),
      last_input_(created),
      sent_(terms_.idempotency_key.empty() ? 0 : limits.resume_buffer_bytes) {}

absl::Time Job::deadline() const {
  MutexLock lock(&mu_);
  absl::Time deadline = std::min(call_deadline_, created_ + limits_.max_duration);
  if (WantsInput()) deadline = std::min(deadline, last_input_ + limits_.receive_timeout);
  return std::min(deadline, resume_by_);
}

absl::Status Job::OverdueStatus(absl::Time now) const {
  MutexLock lock(&mu_);
  if (std::min(call_deadline_, created_ + limits_.max_duration) <= now) {
    return absl::DeadlineExceededError("the job took longer than its deadline");
  }
  if (resume_by_ <= now) {
    return absl::CancelledError(
        absl::StrCat("the connection was lost and nobody resumed the job in ",
                     absl::FormatDuration(limits_.resume_timeout)));
  }
  return absl::DeadlineExceededError(
      absl::StrCat("no driving media came for ", absl::FormatDuration(limits_.receive_timeout)));
}

JobState Job::state() const {
  MutexLock lock(&mu_);
  return state_;
}

bool Job::MoveTo(JobState state, absl::Time now) {
  MutexLock lock(&mu_);
  if (!CanMove(state_, state)) return false;
  state_ = state;
  if (state == JobState::kRunning) running_since_ = now;
  progress_changed_ = true;
  return true;
}

bool Job::End(const absl::Status& status, absl::Time now) {
  std::unique_ptr<EngineJob> unneeded;
  std::deque<v1::ReenactResponse> unsent;
  Input unread;
  {
    MutexLock lock(&mu_);
    if (!CanMove(state_, EndState(status))) return false;
    state_ = EndState(status);
    end_status_ = status;
    end_time_ = now;
    unsent.swap(outbox_);
    std::swap(unread, inbox_);
    if (!status.ok()) {
      sent_.DropBefore(sent_.end());
      next_sequence_number_ = sent_.end();
    }
    request_.reset();
    outbox_bytes_ = 0;
    inbox_bytes_ = 0;
    unneeded = TakeUnneededEngineJob();
  }
  return true;
}

void Job::RequestEnd(absl::Status status) {
  MutexLock lock(&mu_);
  if (requested_end_.ok()) requested_end_ = std::move(status);
}

absl::Status Job::requested_end() const {
  MutexLock lock(&mu_);
  return requested_end_;
}

bool Job::RequestPreparation() {
  MutexLock lock(&mu_);
  return !IsTerminal(state_) && !std::exchange(preparation_scheduled_, true);
}

bool Job::PushInput(std::string bytes) {
  MutexLock lock(&mu_);
  if (IsTerminal(state_) || input_finished_) return false;
  const bool schedule = NotePushed(bytes.size());
  inbox_.chunks.push_back(std::move(bytes));
  return schedule;
}

bool Job::PushFrame(LiveFrame frame) {
  MutexLock lock(&mu_);
  if (IsTerminal(state_) || input_finished_) return false;
  const bool schedule = NotePushed(frame.image.size());
  inbox_.frames.push_back(std::move(frame));
  return schedule;
}

bool Job::NotePushed(size_t num_bytes) {
  inbox_bytes_ += static_cast<int64_t>(num_bytes + kPieceOverheadBytes);
  received_bytes_ += static_cast<int64_t>(num_bytes);
  return TakesInput() && !std::exchange(preparation_scheduled_, true);
}

bool Job::FinishInput() {
  MutexLock lock(&mu_);
  if (IsTerminal(state_) || input_finished_) return false;
  input_finished_ = true;
  return TakesInput() && !std::exchange(preparation_scheduled_, true);
}

bool Job::ResumePreparation() {
  MutexLock lock(&mu_);
  return !IsTerminal(state_) && preparation_ == EngineJob::Preparation::kAhead &&
         !std::exchange(preparation_scheduled_, true);
}

void Job::NoteInput(absl::Time now) {
  MutexLock lock(&mu_);
  last_input_ = now;
}

bool Job::CompleteInput() {
  {
    MutexLock lock(&mu_);
    if (!input_finished_) input_complete_ = true;
  }
  return FinishInput();
}

bool Job::input_complete() const {
  MutexLock lock(&mu_);
  return input_complete_;
}

bool Job::wants_input() const {
  MutexLock lock(&mu_);
  return WantsInput();
}

bool Job::WantsInput() const {
  return !IsTerminal(state_) && !input_finished_ && inbox_bytes_ < limits_.max_inbox_bytes;
}

bool Job::TakesInput() const { return preparation_ == EngineJob::Preparation::kNeedsInput; }

std::optional<JobRequest> Job::TakeRequest() {
  MutexLock lock(&mu_);
  return std::exchange(request_, std::nullopt);
}

Job::Input Job::TakeInput() {
  Input input;
  MutexLock lock(&mu_);
  stepped_since_preparation_ = false;
  if (!TakesInput()) return input;
  std::swap(input, inbox_);
  inbox_bytes_ = 0;
  input.finished = input_finished_ && !std::exchange(finish_taken_, input_finished_);
  return input;
}

bool Job::preparation_due() const {
  MutexLock lock(&mu_);
  return preparation_ == EngineJob::Preparation::kMore ||
         preparation_ == EngineJob::Preparation::kAhead;
}

bool Job::EndPreparationTurn(EngineJob::Preparation result) {
  MutexLock lock(&mu_);
  preparation_ = result;
  bool again = false;
  switch (result) {
    case EngineJob::Preparation::kMore:
      again = true;
      break;
    case EngineJob::Preparation::kNeedsInput:
      again = inbox_.has_media() || (input_finished_ && !finish_taken_);
      break;
    case EngineJob::Preparation::kAhead:
      // A step that ran meanwhile found a turn under way and scheduled none.
      again = stepped_since_preparation_;
      break;
    case EngineJob::Preparation::kDone:
      break;
  }
  preparation_scheduled_ = again && !IsTerminal(state_);
  return preparation_scheduled_;
}

int64_t Job::received_bytes() const {
  MutexLock lock(&mu_);
  return received_bytes_;
}

void Job::SetEngineJob(std::unique_ptr<EngineJob> engine_job) {
  MutexLock lock(&mu_);
  // On the other branch `engine_job` dies with the caller's argument, after the lock.
  if (!IsTerminal(state_)) engine_job_ = std::move(engine_job);
}

EngineJob* Job::AcquireEngineJob() {
  MutexLock lock(&mu_);
  if (IsTerminal(state_) || engine_job_ == nullptr) return nullptr;
  ++engine_users_;
  return engine_job_.get();
}

void Job::ReleaseEngineJob() {
  std::unique_ptr<EngineJob> unneeded;
  {
    MutexLock lock(&mu_);
    --engine_users_;
    unneeded = TakeUnneededEngineJob();
  }
}

std::unique_ptr<EngineJob> Job::TakeUnneededEngineJob() {
  if (engine_users_ > 0 || !(IsTerminal(state_) || has_summary_)) return nullptr;
  return std::move(engine_job_);
}

void Job::SetPlan(const JobPlan& plan) {
  MutexLock lock(&mu_);
  // Two threads may tell, and the older plan last.
  if (Same(plan, plan_) || IsOlder(plan, plan_)) return;
  plan_ = plan;
  progress_changed_ = true;
}

JobPlan Job::plan() const {
  MutexLock lock(&mu_);
  return plan_;
}

LiveStatus Job::SetLiveStatus(const LiveStatus& status) {
  MutexLock lock(&mu_);
  LiveStatus grown;
  // Two threads may tell, and the older status last.
  if (status.frames_in < live_status_.frames_in) return grown;
  grown.frames_in = status.frames_in - live_status_.frames_in;
  grown.frames_skipped = std::max<int64_t>(status.frames_skipped - live_status_.frames_skipped, 0);
  live_status_ = status;
  return grown;
}

void Job::NoteStep(int64_t steps_done, bool denoised, absl::Time now) {
  MutexLock lock(&mu_);
  steps_since_render_ += steps_done - steps_done_;
  steps_done_ = steps_done;
  denoised_ = denoised_ || denoised;
  stepped_since_preparation_ = true;
  last_step_time_ = now;
  progress_changed_ = true;
}

void Job::NoteDenoised() {
  MutexLock lock(&mu_);
  denoised_ = true;
  progress_changed_ = true;
}

bool Job::denoised() const {
  MutexLock lock(&mu_);
  return denoised_;
}

void Job::NoteRender() {
  MutexLock lock(&mu_);
  steps_since_render_ = 0;
}

int64_t Job::steps_since_render() const {
  MutexLock lock(&mu_);
  return steps_since_render_;
}

absl::Duration Job::queue_time() const {
  MutexLock lock(&mu_);
  return running_since_ == absl::InfiniteFuture() ? absl::ZeroDuration()
                                                  : running_since_ - created_;
}

void Job::PushAccepted(int queue_position, absl::Duration expected_wait) {
  v1::ReenactResponse response;
  v1::Accepted* accepted = response.mutable_accepted();
  accepted->set_job_id(id());
  accepted->set_queue_position(queue_position);
  accepted->set_model(model_);
  if (expected_wait < absl::InfiniteDuration()) {
    *accepted->mutable_expected_wait() = ToProto(expected_wait);
  }
  MutexLock lock(&mu_);
  outbox_.push_front(std::move(response));
}

bool Job::RequestRender() {
  MutexLock lock(&mu_);
  if (IsTerminal(state_)) return false;
  if (render_scheduled_) {
    render_asked_again_ = true;
    return false;
  }
  render_scheduled_ = true;
  return true;
}

void Job::BeginRenderTurn() {
  MutexLock lock(&mu_);
  render_asked_again_ = false;
}

bool Job::EndRenderTurn() {
  MutexLock lock(&mu_);
  render_scheduled_ = render_asked_again_ && !IsTerminal(state_);
  return render_scheduled_;
}

bool Job::PushOutputs(std::vector<Output> outputs, int64_t frames_done) {
  std::vector<v1::ReenactResponse> responses;
  int64_t num_bytes = 0;
  bool has_frames = false;
  for (Output& output : outputs) {
    num_bytes += static_cast<int64_t>(output.data.size());
    has_frames = has_frames || output.num_frames > 0;
    responses.push_back(ToProto(std::move(output), format_));
  }
  MutexLock lock(&mu_);
  if (IsTerminal(state_)) return false;
  for (v1::ReenactResponse& response : responses) outbox_.push_back(std::move(response));
  outbox_bytes_ += num_bytes;
  media_bytes_ += num_bytes;
  if (frames_done != frames_done_) progress_changed_ = true;
  frames_done_ = frames_done;
  return has_frames && !std::exchange(has_frames_, true);
}

void Job::PushSummary(const JobSummary& summary, const JobPlan& plan, absl::Time now) {
  v1::ReenactResponse response;
  v1::Summary* proto = response.mutable_summary();
  *proto = ToProto(summary, plan);
  proto->set_job_id(id());
  if (live_) *proto->mutable_live() = ToProto(summary.live);
  std::unique_ptr<EngineJob> unneeded;
  {
    MutexLock lock(&mu_);
    if (IsTerminal(state_) || has_summary_) return;
    has_summary_ = true;
    proto->set_bytes_out(media_bytes_);
    *proto->mutable_stage_times()->mutable_queue() = ToProto(
        running_since_ == absl::InfiniteFuture() ? now - created_ : running_since_ - created_);
    *proto->mutable_stage_times()->mutable_total() = ToProto(now - created_);
    outbox_.push_back(std::move(response));
    unneeded = TakeUnneededEngineJob();
  }
}

bool Job::has_summary() const {
  MutexLock lock(&mu_);
  return has_summary_;
}

bool Job::IsOutboxFull() const { return outbox_bytes_ >= limits_.max_outbox_bytes; }

bool Job::outbox_full() const {
  MutexLock lock(&mu_);
  return IsOutboxFull();
}

Job::Answer Job::NextAnswer(const Listener* caller) {
  Answer answer;
  MutexLock lock(&mu_);
  if (caller != nullptr && listener_.lock().get() != caller) {
    answer.next = Next::kEnded;
    answer.status = absl::AbortedError("another call follows the job now");
    answer.taken_over = true;
    return answer;
  }
  if (next_sequence_number_ < sent_.end()) {
    answer.next = Next::kAnswer;
    answer.response = sent_.at(next_sequence_number_++);
    answer.last = answer.response.has_summary();
    return answer;
  }
  if (IsTerminal(state_)) {
    answer.next = Next::kEnded;
    answer.status = end_status_;
    return answer;
  }
  // The first answer is `accepted` and the last is the summary; progress is for in between, and
  // lets waiting media pass before it comes again.
  const bool between =
      sent_.end() > 0 && !summary_sent_ && (outbox_.empty() || !outbox_.front().has_summary());
  if (progress_changed_ && between && !(last_was_progress_ && !outbox_.empty())) {
    *answer.response.mutable_progress() = MakeProgress();
    progress_changed_ = false;
    last_was_progress_ = true;
  } else if (!outbox_.empty()) {
    const bool was_full = IsOutboxFull();
    answer.response = std::move(outbox_.front());
    outbox_.pop_front();
    outbox_bytes_ -= MediaBytes(answer.response);
    answer.made_room = was_full && !IsOutboxFull();
    answer.last = answer.response.has_summary();
    summary_sent_ = answer.last;
    last_was_progress_ = false;
  } else {
    return answer;
  }
  answer.next = Next::kAnswer;
  sent_.Push(answer.response);
  next_sequence_number_ = sent_.end();
  return answer;
}

bool Job::IsResumable() const { return !terms_.idempotency_key.empty() && input_complete_; }

bool Job::IsFollowedBy(const Listener* caller) const {
  MutexLock lock(&mu_);
  return listener_.lock().get() == caller;
}

Job::Loss Job::Detach(const Listener* caller, absl::Time now) {
  MutexLock lock(&mu_);
  if (listener_.lock().get() != caller) return Loss::kNotFollowing;
  if (!IsTerminal(state_)) {
    if (!IsResumable() || !requested_end_.ok()) return Loss::kEnds;
    resume_by_ = now + limits_.resume_timeout;
  }
  listener_.reset();
  return Loss::kDetached;
}

absl::StatusOr<std::shared_ptr<Job::Listener>> Job::Attach(std::weak_ptr<Listener> listener,
                                                           uint64_t next_sequence_number,
                                                           absl::Time deadline) {
  MutexLock lock(&mu_);
  const bool only_status = IsTerminal(state_) && !end_status_.ok();
  if (!only_status) {
    if (!IsResumable()) {
      return absl::FailedPreconditionError(absl::StrCat("job ", id_, " cannot be resumed: ",
                                                        terms_.idempotency_key.empty()
                                                            ? "its config has no idempotency_key"
                                                            : "its driving media is not complete"));
    }
    if (next_sequence_number < sent_.begin() || next_sequence_number > sent_.end()) {
      return absl::OutOfRangeError(
          absl::StrCat("next_sequence_number is ", next_sequence_number, ", must be ",
                       sent_.begin(), " to ", sent_.end(), ": answers before ", sent_.begin(),
                       " are not kept any more, and ", sent_.end(), " were sent so far"));
    }
    sent_.DropBefore(next_sequence_number);
    next_sequence_number_ = next_sequence_number;
    call_deadline_ = deadline;
    resume_by_ = absl::InfiniteFuture();
    progress_changed_ = true;
  }
  std::shared_ptr<Listener> former = listener_.lock();
  listener_ = std::move(listener);
  return former;
}

bool Job::abandoned() const {
  MutexLock lock(&mu_);
  return IsTerminal(state_) && resume_by_ <= end_time_;
}

int64_t Job::kept_bytes() const {
  MutexLock lock(&mu_);
  return sent_.bytes();
}

v1::Progress Job::MakeProgress() const {
  v1::Progress progress;
  switch (state_) {
    case JobState::kReceiving:
      progress.set_stage(v1::STAGE_RECEIVING);
      break;
    case JobState::kPreparing:
      progress.set_stage(v1::STAGE_PREPARING);
      break;
    case JobState::kWaiting:
      progress.set_stage(v1::STAGE_WAITING);
      break;
    default:
      progress.set_stage(denoised_ ? v1::STAGE_RENDERING : v1::STAGE_DENOISING);
  }
  progress.set_step(steps_done_);
  progress.set_total_steps(plan_.total_steps);
  progress.set_frames_done(frames_done_);
  progress.set_frames_total(plan_.num_frames);
  // Nobody knows how long a camera will run.
  if (steps_done_ > 0 && (!live_ || plan_.complete)) {
    const absl::Duration per_step =
        (last_step_time_ - running_since_) / static_cast<double>(steps_done_);
    const int64_t steps_left = std::max<int64_t>(plan_.total_steps - steps_done_, 0);
    *progress.mutable_estimated_time_left() = ToProto(per_step * static_cast<double>(steps_left));
  }
  if (live_) *progress.mutable_live() = ToProto(live_status_);
  return progress;
}

v1::Job Job::Snapshot() const {
  v1::Job job;
  job.set_job_id(id());
  job.set_model(model_);
  *job.mutable_create_time() = ToProto(created_);
  MutexLock lock(&mu_);
  job.set_state(ToProto(state_));
  *job.mutable_progress() = MakeProgress();
  if (IsTerminal(state_)) {
    *job.mutable_end_time() = ToProto(end_time_);
    job.set_error_code(static_cast<int>(end_status_.code()));
    job.set_error_message(std::string(end_status_.message()));
  }
  return job;
}

void Job::NotifyListener() {
  std::shared_ptr<Listener> listener;
  {
    MutexLock lock(&mu_);
    listener = listener_.lock();
  }
  if (listener != nullptr) listener->OnJobChanged();
}

}  // namespace reenact
