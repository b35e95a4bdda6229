#include "server/call_stream.h"

#include <utility>

#include "server/call_terms.h"
#include "server/log.h"
#include "server/status_details.h"

namespace reenact {

CallStream::CallStream(std::string tenant, absl::Time deadline, const CallEnvironment& environment)
    : tenant_(std::move(tenant)),
      deadline_(deadline),
      runner_(environment.runner),
      clock_(*environment.clock),
      metrics_(*environment.metrics),
      expired_from_(ExpiredFrom(deadline_, clock_.TimeNow())) {}

bool CallStream::Begin(const absl::Status& tenant) {
  self_ = shared_from_this();
  if (runner_ == nullptr) {
    RefuseCall(absl::UnavailableError("the model is still loading; try again later"));
    return false;
  }
  if (!tenant.ok()) {
    RefuseCall(tenant);
    return false;
  }
  return true;
}

void CallStream::HandOver() {
  Pump();
  NoteHandOver(this);
}

std::optional<absl::Status> CallStream::refusal() const {
  MutexLock lock(&mu_);
  return refusal_;
}

void CallStream::RefuseCall(const absl::Status& status) {
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

void CallStream::AfterRead(bool ok) {
  NoteTakeOver(this);
  bool refused = false;
  {
    MutexLock lock(&mu_);
    reads_over_ = reads_over_ || !ok;
    refused = refusal_.has_value();
  }
  // The read counts as in flight until its message has been taken: another thread may call Pump()
  // meanwhile, and the next read would overwrite and overtake this one.
  if (!refused) {
    if (ok) {
      TakeRead();
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

void CallStream::AfterWrite(bool ok) {
  NoteTakeOver(this);
  // The write counts as in flight until then: the next one would change what OnWritten() speaks of.
  if (ok) OnWritten();
  {
    MutexLock lock(&mu_);
    write_in_flight_ = false;
    // A failed write means a lost client: AfterCancel() follows. Until then nothing is written: it
    // would count as sent.
    broken_ = broken_ || !ok;
  }
  Pump();
}

void CallStream::AfterCancel() {
  NoteTakeOver(this);
  const absl::Status reason = CancelReason(expired_from_, clock_.TimeNow());
  {
    MutexLock lock(&mu_);
    if (!refusal_.has_value()) refusal_ = reason;
  }
  OnLost(reason);
  Pump();
}

void CallStream::AfterDone() {
  NoteTakeOver(this);
  // A thread inside Pump() holds a reference of its own.
  std::shared_ptr<CallStream> last;
  last.swap(self_);
}

void CallStream::Pump() {
  // Finish() may let another thread run AfterDone() before this one returns.
  const std::shared_ptr<CallStream> alive = shared_from_this();
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

void CallStream::PumpRead() {
  if (!WantsRead()) return;
  {
    MutexLock lock(&mu_);
    if (refusal_.has_value() || read_in_flight_ || reads_over_) return;
    read_in_flight_ = true;
  }
  StartReading();
}

void CallStream::PumpWriteOrFinish() {
  std::optional<absl::Status> end;
  {
    MutexLock lock(&mu_);
    if (write_in_flight_ || (broken_ && !refusal_.has_value())) return;
    end = refusal_;
  }
  if (!end.has_value()) {
    Turn turn = NextTurn();
    switch (turn.next) {
      case Turn::Next::kNothing:
        return;
      case Turn::Next::kWrite: {
        {
          MutexLock lock(&mu_);
          write_in_flight_ = true;
        }
        StartWriting();
        return;
      }
      case Turn::Next::kEnd:
        end = std::move(turn.status);
    }
  }
  {
    MutexLock lock(&mu_);
    finished_ = true;
  }
  FinishCall(ToGrpcStatus(*end));
}

}  // namespace reenact
