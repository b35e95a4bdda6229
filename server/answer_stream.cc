#include "server/answer_stream.h"

#include <optional>
#include <utility>

namespace reenact {

std::shared_ptr<Job> AnswerStream::job() const {
  MutexLock lock(&job_mu_);
  return job_;
}

void AnswerStream::Follow(const std::shared_ptr<Job>& job) {
  {
    MutexLock lock(&job_mu_);
    job_ = job;
  }
  // OnLost() may have come before there was a job to tell. If both tell it, the second is ignored.
  if (const std::optional<absl::Status> reason = refusal(); reason.has_value()) {
    runner_->CallLost(job, this, *reason);
  }
}

CallStream::Turn AnswerStream::NextTurn() {
  const std::shared_ptr<Job> current = job();
  if (current == nullptr) return {};
  Job::Answer answer = runner_->NextAnswer(current, this);
  switch (answer.next) {
    case Job::Next::kNothing:
      return {};
    case Job::Next::kAnswer:
      answer_ = std::move(answer.response);
      {
        MutexLock lock(&job_mu_);
        writes_last_ = answer.last;
      }
      return {.next = Turn::Next::kWrite, .status = absl::OkStatus()};
    case Job::Next::kEnded:
      return {.next = Turn::Next::kEnd, .status = std::move(answer.status)};
  }
  return {};
}

void AnswerStream::OnWritten() {
  std::shared_ptr<Job> delivered;
  {
    MutexLock lock(&job_mu_);
    if (writes_last_) delivered = job_;
  }
  if (delivered != nullptr) runner_->OnSummarySent(delivered);
}

void AnswerStream::OnLost(const absl::Status& reason) {
  if (const std::shared_ptr<Job> current = job(); current != nullptr) {
    runner_->CallLost(current, this, reason);
  }
}

}  // namespace reenact
