// One call of Reenact: moves messages between gRPC and a job.
//
// At most one read and one write are in flight. Reading stops while the job's inbox is full;
// nothing is written but what the job's bounded outbox holds, so a slow or fast client costs
// bounded memory and holds up no other job. A client that leaves only leaves a mark on the job,
// which the scheduler thread obeys before its next step.
//
// Threads: gRPC's reactions and, through OnJobChanged(), any thread that works on the job. Pump()
// makes every call into gRPC and runs in one thread at a time, so none of them can follow Finish().
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "reenact/v1/reenact.pb.h"
#include "server/clock.h"
#include "server/job.h"
#include "server/job_runner.h"
#include "server/metrics.h"

namespace reenact {

class ReenactStream final : public grpc::ServerBidiReactor<v1::ReenactRequest, v1::ReenactResponse>,
                            public Job::Listener,
                            public std::enable_shared_from_this<ReenactStream> {
 public:
  // Starts the stream; it owns itself until gRPC is done with it. `runner` is null until the model
  // is loaded: the call is refused. All references must outlive the call.
  static ReenactStream* Start(grpc::CallbackServerContext& context, JobRunner* runner, Clock& clock,
                              Metrics& metrics);

  void OnJobChanged() override;

 private:
  ReenactStream(std::string tenant, absl::Time deadline, JobRunner* runner, Clock& clock,
                Metrics& metrics)
      : tenant_(std::move(tenant)),
        deadline_(deadline),
        runner_(runner),
        clock_(clock),
        metrics_(metrics) {}

  // Reactions.
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone() override ABSL_LOCKS_EXCLUDED(mu_);

  void TakeMessage(v1::ReenactRequest& message) ABSL_LOCKS_EXCLUDED(mu_);
  void TakeConfig(v1::JobConfig& config) ABSL_LOCKS_EXCLUDED(mu_);
  void EndOfInput() ABSL_LOCKS_EXCLUDED(mu_);
  // A fault of the client: ends the job if there is one, else the call.
  void Refuse(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // Starts whatever can be started: a read, a write, the finish.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);
  void PumpRead() ABSL_LOCKS_EXCLUDED(mu_);
  void PumpWriteOrFinish() ABSL_LOCKS_EXCLUDED(mu_);

  std::shared_ptr<Job> job() const ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string tenant_;
  const absl::Time deadline_;
  JobRunner* const runner_;
  Clock& clock_;
  Metrics& metrics_;

  // From Start() to OnDone().
  std::shared_ptr<ReenactStream> self_;

  // Each owned by gRPC while its operation is in flight.
  v1::ReenactRequest request_;
  v1::ReenactResponse response_;

  mutable Mutex mu_;
  std::shared_ptr<Job> job_ ABSL_GUARDED_BY(mu_);
  bool read_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool reads_over_ ABSL_GUARDED_BY(mu_) = false;
  bool write_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool summary_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  // How the call ends, if it does not wait for the job's end.
  std::optional<absl::Status> refusal_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool pumping_ ABSL_GUARDED_BY(mu_) = false;
  bool pump_again_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace reenact
