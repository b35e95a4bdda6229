#include "server/extract_stream.h"

#include <utility>

#include "server/call_terms.h"
#include "server/convert.h"
#include "server/log.h"
#include "server/status_details.h"
#include "server/tenant.h"

namespace reenact {

ExtractStream* ExtractStream::Start(grpc::CallbackServerContext& context,
                                    const CallEnvironment& environment) {
  const absl::StatusOr<std::string> tenant = TenantOf(context);
  const auto stream = std::shared_ptr<ExtractStream>(
      new ExtractStream(tenant.value_or(""), DeadlineOf(context), environment));
  stream->self_ = stream;
  if (environment.runner == nullptr) {
    stream->RefuseCall(absl::UnavailableError("the model is still loading; try again later"));
  } else if (!tenant.ok()) {
    stream->RefuseCall(tenant.status());
  }
  stream->Pump();
  NoteHandOver(stream.get());
  return stream.get();
}

ExtractStream::ExtractStream(std::string tenant, absl::Time deadline,
                             const CallEnvironment& environment)
    : tenant_(std::move(tenant)),
      deadline_(deadline),
      expired_from_(ExpiredFrom(deadline, environment.clock->TimeNow())),
      runner_(environment.runner == nullptr ? nullptr : &environment.runner->extractions()),
      clock_(*environment.clock),
      metrics_(*environment.metrics) {}

ExtractStream::Extraction ExtractStream::extraction() const {
  MutexLock lock(&mu_);
  return extraction_;
}

void ExtractStream::OnReadDone(bool ok) {
  NoteTakeOver(this);
  bool refused = false;
  {
    MutexLock lock(&mu_);
    reads_over_ = reads_over_ || !ok;
    refused = refusal_.has_value();
  }
  // The read counts as in flight until its message has been taken: the next one would overwrite and
  // overtake it.
  if (!refused) {
    if (ok) {
      TakeMessage(request_);
    } else if (const Extraction current = extraction(); current != nullptr) {
      runner_->FinishInput(current);
    } else {
      RefuseCall(absl::InvalidArgumentError("config: the stream ended without it"));
    }
  }
  {
    MutexLock lock(&mu_);
    read_in_flight_ = false;
  }
  Pump();
}

void ExtractStream::TakeMessage(v1::ExtractMotionRequest& message) {
  const Extraction current = extraction();
  switch (message.payload_case()) {
    case v1::ExtractMotionRequest::kConfig:
      if (current != nullptr) {
        Refuse(absl::InvalidArgumentError("config: may be sent only once, as the first message"));
      } else {
        TakeConfig(std::move(*message.mutable_config()));
      }
      return;
    case v1::ExtractMotionRequest::kDrivingChunk:
      if (current == nullptr) {
        Refuse(absl::InvalidArgumentError("driving_chunk: came before config"));
      } else if (message.driving_chunk().empty()) {
        Refuse(absl::InvalidArgumentError("driving_chunk has 0 bytes, must have 1 or more"));
      } else {
        runner_->PushInput(current, std::move(*message.mutable_driving_chunk()));
      }
      return;
    case v1::ExtractMotionRequest::PAYLOAD_NOT_SET:
      Refuse(absl::InvalidArgumentError(
          "payload: is not set, must be config (first) or driving_chunk"));
      return;
  }
}

void ExtractStream::TakeConfig(v1::ExtractMotionConfig config) {
  absl::StatusOr<MotionRequest> request = ToMotionRequest(std::move(config));
  if (!request.ok()) return RefuseCall(request.status());
  absl::StatusOr<Extraction> admitted =
      runner_->Admit(*std::move(request), tenant_, deadline_, weak_from_this());
  if (!admitted.ok()) return RefuseCall(admitted.status());
  std::optional<absl::Status> gone;
  {
    MutexLock lock(&mu_);
    extraction_ = *admitted;
    gone = refusal_;
  }
  // OnCancel() came before there was an extraction to end.
  if (gone.has_value()) runner_->End(*admitted, *gone);
}

void ExtractStream::Refuse(const absl::Status& status) {
  if (const Extraction current = extraction(); current != nullptr) {
    runner_->End(current, status);
  } else {
    RefuseCall(status);
  }
}

void ExtractStream::RefuseCall(const absl::Status& status) {
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

void ExtractStream::OnWriteDone(bool ok) {
  NoteTakeOver(this);
  {
    MutexLock lock(&mu_);
    write_in_flight_ = false;
    broken_ = broken_ || !ok;
  }
  // A failed write means a lost client: OnCancel() follows.
  Pump();
}

void ExtractStream::OnCancel() {
  NoteTakeOver(this);
  const absl::Status reason = CancelReason(expired_from_, clock_.TimeNow());
  Extraction current;
  {
    MutexLock lock(&mu_);
    current = extraction_;
    if (!refusal_.has_value()) refusal_ = reason;
  }
  if (current != nullptr) runner_->End(current, reason);
  Pump();
}

void ExtractStream::OnDone() {
  NoteTakeOver(this);
  // A thread inside Pump() holds a reference of its own.
  std::shared_ptr<ExtractStream> last;
  last.swap(self_);
}

void ExtractStream::Pump() {
  // Finish() may let another thread run OnDone() before this one returns.
  const std::shared_ptr<ExtractStream> alive = shared_from_this();
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

void ExtractStream::PumpRead() {
  const Extraction current = extraction();
  if (current != nullptr && !runner_->WantsInput(current)) return;
  {
    MutexLock lock(&mu_);
    if (refusal_.has_value() || read_in_flight_ || reads_over_) return;
    read_in_flight_ = true;
  }
  StartRead(&request_);
}

void ExtractStream::PumpWriteOrFinish() {
  Extraction current;
  std::optional<absl::Status> end;
  {
    MutexLock lock(&mu_);
    if (write_in_flight_) return;
    current = extraction_;
    end = refusal_;
    if (broken_ && !end.has_value()) return;
  }
  if (!end.has_value() && current != nullptr) {
    ExtractionRunner::Answer answer = runner_->NextAnswer(current);
    switch (answer.next) {
      case ExtractionRunner::Next::kNothing:
        return;
      case ExtractionRunner::Next::kAnswer:
        response_ = std::move(answer.response);
        {
          MutexLock lock(&mu_);
          write_in_flight_ = true;
        }
        StartWrite(&response_);
        return;
      case ExtractionRunner::Next::kEnded:
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
