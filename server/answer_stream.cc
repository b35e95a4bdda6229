#include "server/answer_stream.h"

#include <utility>

#include "server/call_terms.h"
#include "server/log.h"
#include "server/status_details.h"

namespace reenact {
AnswerStream::AnswerStream(std::string tenant, absl::Time deadline,
                           const CallEnvironment& environment)
    : tenant_(std::move(tenant)),
      deadline_(deadline),
      runner_(environment.runner),
      clock_(*environment.clock),
      metrics_(*environment.metrics),
      expired_from_(ExpiredFrom(deadline_, clock_.TimeNow())) {}

std::shared_ptr<Job> AnswerStream::job() const {
  MutexLock lock(&mu_);
  return job_;
}

bool AnswerStream::refused() const {
  MutexLock lock(&mu_);
  return refusal_.has_value();
}

void AnswerStream::Follow(const std::shared_ptr<Job>& job) {
  bool gone = false;
  {
    MutexLock lock(&mu_);
    job_ = job;
    gone = refusal_.has_value();
  }
  // AfterCancel() came before there was a job to tell.
  if (gone) runner_->CallLost(job, this, absl::CancelledError("the client went away"));
}

void AnswerStream::RefuseCall(const absl::Status& status) {
  {
    MutexLock lock(&mu_);
    if (refusal_.has_value()) return;
    refusal_ = status;
  }
  metrics_.CountRefused(status.code());
  Log(LogLevel::kInfo, "call refused",
      {{"code", std::string(StatusCodeName(status.code()))},
       {"error", std::string(status.message())}});
}

void AnswerStream::AfterWrite(bool ok) {
  NoteTakeOver(this);
  std::shared_ptr<Job> delivered;
  {
    MutexLock lock(&mu_);
    write_in_flight_ = false;
    broken_ = broken_ || !ok;
    if (ok && std::exchange(summary_in_flight_, false)) delivered = job_;
  }
  // A failed write means a lost client: AfterCancel() tells the job. Until then nothing is written:
  // answers would count as sent.
  if (delivered != nullptr) runner_->OnSummarySent(delivered);
  Pump();
}

void AnswerStream::AfterCancel() {
  NoteTakeOver(this);
  const absl::Status reason = CancelReason(expired_from_, clock_.TimeNow());
  std::shared_ptr<Job> current;
  {
    MutexLock lock(&mu_);
    current = job_;
    if (!refusal_.has_value()) refusal_ = reason;
  }
  if (current != nullptr) runner_->CallLost(current, this, reason);
  Pump();
}

void AnswerStream::AfterDone() {
  NoteTakeOver(this);
  // A thread inside Pump() or OnJobChanged() holds a reference of its own.
  std::shared_ptr<AnswerStream> last;
  last.swap(self_);
}

void AnswerStream::Pump() {
  // Finish() may let another thread run AfterDone() before this one returns.
  const std::shared_ptr<AnswerStream> alive = shared_from_this();
  {
    MutexLock lock(&mu_);
    pump_again_ = true;
    if (pumping_) return;
    pumping_ = true;
  }
  while (true) {
    {
      MutexLock lock(&mu_);
      if (!std::exchange(pump_again_, false) || finished_) {
        pumping_ = false;
        return;
      }
    }
    PumpRead();
    PumpWriteOrFinish();
  }
}

void AnswerStream::PumpWriteOrFinish() {
  std::shared_ptr<Job> current;
  std::optional<absl::Status> end;
  {
    MutexLock lock(&mu_);
    if (write_in_flight_) return;
    current = job_;
    end = refusal_;
    if (broken_ && !end.has_value()) return;
  }
  if (!end.has_value() && current != nullptr) {
    Job::Answer answer = runner_->NextAnswer(current, this);
    switch (answer.next) {
      case Job::Next::kNothing:
        return;
      case Job::Next::kAnswer: {
        response_ = std::move(answer.response);
        {
          MutexLock lock(&mu_);
          write_in_flight_ = true;
          summary_in_flight_ = answer.last;
        }
        StartWriting(response_);
        return;
      }
      case Job::Next::kEnded:
        end = answer.status;
    }
  }
  if (!end.has_value()) return;
  {
    MutexLock lock(&mu_);
    finished_ = true;
  }
  FinishCall(ToGrpcStatus(*end));
}

}  // namespace reenact
