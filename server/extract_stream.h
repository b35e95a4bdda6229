// One call of ExtractMotion: moves messages between gRPC and an extraction.
//
// At most one read and one write are in flight. Reading stops while the extraction's inbox is full,
// and it reads no further while its outbox is, so neither a fast nor a slow client costs unbounded
// memory. The extraction ends with the call.
//
// Threads: gRPC's reactions and the extraction's. Pump() makes every call into gRPC and runs in one
// thread at a time, so none of them can follow Finish().
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "reenact/v1/reenact.pb.h"
#include "server/answer_stream.h"
#include "server/extraction_runner.h"

namespace reenact {

class ExtractStream final
    : public grpc::ServerBidiReactor<v1::ExtractMotionRequest, v1::ExtractMotionResponse>,
      public ExtractionRunner::Listener,
      public std::enable_shared_from_this<ExtractStream> {
 public:
  // Starts the stream; it owns itself until gRPC is done with it.
  static ExtractStream* Start(grpc::CallbackServerContext& context,
                              const CallEnvironment& environment);

  void OnExtractionChanged() override { Pump(); }

 private:
  using Extraction = std::shared_ptr<ExtractionRunner::Extraction>;

  ExtractStream(std::string tenant, absl::Time deadline, const CallEnvironment& environment);

  // Reactions.
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone() override;

  void TakeMessage(v1::ExtractMotionRequest& message) ABSL_LOCKS_EXCLUDED(mu_);
  void TakeConfig(v1::ExtractMotionConfig config) ABSL_LOCKS_EXCLUDED(mu_);
  // A fault of the client: ends the extraction if there is one, else the call.
  void Refuse(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the call with `status`.
  void RefuseCall(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // Starts whatever can be started: a read, a write, the finish.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);
  void PumpRead() ABSL_LOCKS_EXCLUDED(mu_);
  void PumpWriteOrFinish() ABSL_LOCKS_EXCLUDED(mu_);

  Extraction extraction() const ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string tenant_;
  const absl::Time deadline_;
  const absl::Time expired_from_;
  ExtractionRunner* const runner_;
  Clock& clock_;
  Metrics& metrics_;

  std::shared_ptr<ExtractStream> self_;

  // Owned by gRPC while a read or a write is in flight.
  v1::ExtractMotionRequest request_;
  v1::ExtractMotionResponse response_;

  mutable Mutex mu_;
  Extraction extraction_ ABSL_GUARDED_BY(mu_);
  bool read_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool reads_over_ ABSL_GUARDED_BY(mu_) = false;
  bool write_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  // How the call ends, if it does not wait for the extraction's end.
  std::optional<absl::Status> refusal_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool pumping_ ABSL_GUARDED_BY(mu_) = false;
  bool pump_again_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace reenact
