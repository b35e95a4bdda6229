#include "server/reenact_stream.h"

#include <chrono>
#include <utility>

#include "server/convert.h"
#include "server/log.h"
#include "server/status_details.h"
#include "server/tenant.h"

namespace reenact {
namespace {

// gRPC's timer and ours may disagree by this much about whether a deadline has passed.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(20);

absl::Time Deadline(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

}  // namespace

ReenactStream* ReenactStream::Start(grpc::CallbackServerContext& context, JobRunner* runner,
                                    Clock& clock, Metrics& metrics) {
  const absl::StatusOr<std::string> tenant = TenantOf(context);
  auto stream = std::shared_ptr<ReenactStream>(
      new ReenactStream(tenant.value_or(""), Deadline(context), runner, clock, metrics));
  ReenactStream* const raw = stream.get();
  stream->self_ = stream;
  if (runner == nullptr) {
    stream->Refuse(absl::UnavailableError("the model is still loading; try again later"));
  } else if (!tenant.ok()) {
    stream->Refuse(tenant.status());
  }
  stream->Pump();
  NoteHandOver(raw);
  return raw;
}

std::shared_ptr<Job> ReenactStream::job() const {
  MutexLock lock(&mu_);
  return job_;
}

void ReenactStream::OnJobChanged() { Pump(); }

void ReenactStream::OnReadDone(bool ok) {
  NoteTakeOver(this);
  bool refused = false;
  {
    MutexLock lock(&mu_);
    reads_over_ = reads_over_ || !ok;
    refused = refusal_.has_value();
  }
  // The read counts as in flight until its message has been taken: the job may call Pump()
  // meanwhile, and the next read would overwrite and overtake this one.
  if (!refused) {
    if (ok) {
      TakeMessage(request_);
    } else {
      EndOfInput();
    }
  }
  {
    MutexLock lock(&mu_);
    read_in_flight_ = false;
  }
  Pump();
}

void ReenactStream::TakeMessage(v1::ReenactRequest& message) {
  const std::shared_ptr<Job> current = job();
  switch (message.payload_case()) {
    case v1::ReenactRequest::kConfig:
      if (current != nullptr) {
        Refuse(absl::InvalidArgumentError("config: may be sent only once, as the first message"));
      } else {
        TakeConfig(*message.mutable_config());
      }
      return;
    case v1::ReenactRequest::kDrivingChunk:
      if (current == nullptr) {
        Refuse(absl::InvalidArgumentError("driving_chunk: came before config"));
      } else if (message.driving_chunk().empty()) {
        Refuse(absl::InvalidArgumentError("driving_chunk has 0 bytes, must have 1 or more"));
      } else {
        runner_->PushInput(current, std::move(*message.mutable_driving_chunk()));
      }
      return;
    case v1::ReenactRequest::PAYLOAD_NOT_SET:
      Refuse(absl::InvalidArgumentError(
          "payload: is not set, must be config (first) or driving_chunk"));
      return;
  }
}

void ReenactStream::TakeConfig(v1::JobConfig& config) {
  JobTerms terms = {.tenant = tenant_,
                    .priority = config.priority(),
                    .idempotency_key = config.idempotency_key()};
  absl::StatusOr<JobRequest> request = ToJobRequest(std::move(config), runner_->models());
  if (!request.ok()) return Refuse(request.status());
  absl::StatusOr<std::shared_ptr<Job>> admitted =
      runner_->Admit(*std::move(request), deadline_, weak_from_this(), std::move(terms));
  if (!admitted.ok()) return Refuse(admitted.status());
  bool gone = false;
  {
    MutexLock lock(&mu_);
    job_ = *admitted;
    gone = refusal_.has_value();
  }
  // OnCancel() came before there was a job to mark.
  if (gone) runner_->RequestEnd(*admitted, absl::CancelledError("the client went away"));
}

void ReenactStream::EndOfInput() {
  if (const std::shared_ptr<Job> current = job(); current != nullptr) {
    runner_->FinishInput(current);
  } else {
    Refuse(absl::InvalidArgumentError("config: the stream ended without it"));
  }
}

void ReenactStream::Refuse(const absl::Status& status) {
  if (const std::shared_ptr<Job> current = job(); current != nullptr) {
    runner_->RequestEnd(current, status);
    return;
  }
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

void ReenactStream::OnWriteDone(bool ok) {
  NoteTakeOver(this);
  std::shared_ptr<Job> delivered;
  {
    MutexLock lock(&mu_);
    write_in_flight_ = false;
    if (ok && std::exchange(summary_in_flight_, false)) delivered = job_;
  }
  // A failed write means a lost client: OnCancel() tells the job.
  if (delivered != nullptr) runner_->OnSummarySent(delivered);
  Pump();
}

void ReenactStream::OnCancel() {
  NoteTakeOver(this);
  // gRPC calls this for a deadline that has passed as well.
  const bool expired = clock_.TimeNow() + kDeadlineSlack >= deadline_;
  const absl::Status reason =
      expired ? absl::DeadlineExceededError("the call's deadline has passed")
              : absl::CancelledError("the client went away or cancelled the call");
  std::shared_ptr<Job> current;
  {
    MutexLock lock(&mu_);
    current = job_;
    if (!refusal_.has_value()) refusal_ = reason;
  }
  if (current != nullptr) runner_->RequestEnd(current, reason);
  Pump();
}

void ReenactStream::OnDone() {
  NoteTakeOver(this);
  // A thread inside Pump() or OnJobChanged() holds a reference of its own.
  std::shared_ptr<ReenactStream> last;
  last.swap(self_);
}

void ReenactStream::Pump() {
  // Finish() may let another thread run OnDone() before this one returns.
  const std::shared_ptr<ReenactStream> alive = shared_from_this();
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

void ReenactStream::PumpRead() {
  const std::shared_ptr<Job> current = job();
  if (current != nullptr && !current->wants_input()) return;
  {
    MutexLock lock(&mu_);
    if (read_in_flight_ || reads_over_ || refusal_.has_value()) return;
    read_in_flight_ = true;
  }
  StartRead(&request_);
}

void ReenactStream::PumpWriteOrFinish() {
  std::shared_ptr<Job> current;
  std::optional<absl::Status> end;
  {
    MutexLock lock(&mu_);
    if (write_in_flight_) return;
    current = job_;
    end = refusal_;
  }
  if (!end.has_value() && current != nullptr) {
    Job::Answer answer = runner_->NextAnswer(current);
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
        StartWrite(&response_);
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
  Finish(ToGrpcStatus(*end));
}

}  // namespace reenact
