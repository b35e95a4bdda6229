// A streaming call: what every one of them does with gRPC, whatever it is for.
//
// At most one read and one write are in flight. A read is started only when the work behind the
// call wants input, and nothing is written but what the work's bounded outbox holds, so neither a
// fast nor a slow client costs unbounded memory or holds up another call.
//
// Threads: gRPC's reactions and, through Pump(), any thread that works for the call. Pump() makes
// every call into gRPC and runs in one thread at a time, so none of them can follow Finish().
#pragma once

#include <grpcpp/support/status.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "server/clock.h"
#include "server/job_runner.h"
#include "server/metrics.h"

namespace reenact {

// What every call to the service needs. All pointers must outlive the call.
struct CallEnvironment {
  JobRunner* runner = nullptr;  // null until the model is loaded
  Clock* clock = nullptr;
  Metrics* metrics = nullptr;
};

class CallStream : public std::enable_shared_from_this<CallStream> {
 public:
  virtual ~CallStream() = default;

 protected:
  CallStream(std::string tenant, absl::Time deadline, const CallEnvironment& environment);

  // What is to be sent next.
  struct Turn {
    enum class Next {
      kNothing,  // until the next Pump()
      kWrite,    // StartWriting() has something to write
      kEnd,      // the call ends with `status`
    };
    Next next = Next::kNothing;
    absl::Status status;
  };

  // What the work behind the call has to say. NextTurn() and WantsRead() are called inside Pump(),
  // by one thread at a time.
  virtual Turn NextTurn() = 0;
  virtual bool WantsRead() const { return false; }
  // A message has been read, or the client has sent all of its own. Not called once the call has
  // been refused. No read is started before they return.
  virtual void TakeRead() {}
  virtual void EndOfInput() {}
  // What StartWriting() wrote has left.
  virtual void OnWritten() {}
  // The client is gone, or its time is over. May be called beside everything else.
  virtual void OnLost(const absl::Status& reason) = 0;

  // The calls into gRPC.
  virtual void StartReading() {}
  virtual void StartWriting() = 0;
  virtual void FinishCall(const grpc::Status& status) = 0;

  // To be called in the reactions of the same name.
  void AfterRead(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void AfterWrite(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void AfterCancel() ABSL_LOCKS_EXCLUDED(mu_);
  void AfterDone() ABSL_LOCKS_EXCLUDED(mu_);

  // Begins the call: it owns itself from now until gRPC is done with it. Refuses it if the service
  // has no model yet or `tenant` is an error; false then.
  bool Begin(const absl::Status& tenant);
  // To be called when the call has been set up, last of all.
  void HandOver();

  // Ends the call with `status`, whatever becomes of the work behind it.
  void RefuseCall(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // How the call ends, if it does not wait for the work's end.
  std::optional<absl::Status> refusal() const ABSL_LOCKS_EXCLUDED(mu_);

  // Starts whatever can be started: a read, a write, the finish.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string tenant_;
  const absl::Time deadline_;
  JobRunner* const runner_;
  Clock& clock_;
  Metrics& metrics_;

 private:
  void PumpRead() ABSL_LOCKS_EXCLUDED(mu_);
  void PumpWriteOrFinish() ABSL_LOCKS_EXCLUDED(mu_);

  // A call that is cancelled after this time is taken for one whose deadline has passed.
  const absl::Time expired_from_;

  std::shared_ptr<CallStream> self_;

  mutable Mutex mu_;
  bool read_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool reads_over_ ABSL_GUARDED_BY(mu_) = false;
  bool write_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> refusal_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool pumping_ ABSL_GUARDED_BY(mu_) = false;
  bool pump_again_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace reenact
