// The gRPC side of JobStream; not for callers.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "client/job_stream.h"
#include "grpcpp/grpcpp.h"

namespace reenact {

// One write and one read in flight at most, each started when its predecessor's result has been
// taken.
//
// Life: Start() puts one hold on the call, so that operations may be started outside of reactions.
// The hold goes when the stream has ended (a read failed) and no write is in flight; only then does
// gRPC call OnDone. Reactions come on gRPC's threads and never block.
class JobStream::Reactor final
    : public grpc::ClientBidiReactor<v1::ReenactRequest, v1::ReenactResponse> {
 public:
  // Sends `config`. `stub` is used in this call only.
  void Start(v1::ReenactService::Stub& stub, v1::JobConfig config, absl::Time deadline);

  bool Write(std::string&& chunk) ABSL_LOCKS_EXCLUDED(mu_);
  bool WritesDone() ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::optional<v1::ReenactResponse>> Next() ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel() { context_.TryCancel(); }

  // Cancels and waits for OnDone. Nothing may be called afterwards, nor be running.
  void End() ABSL_LOCKS_EXCLUDED(mu_);

  void OnWriteDone(bool ok) override { EndWrite(ok); }
  void OnWritesDoneDone(bool ok) override { EndWrite(ok); }
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone(const grpc::Status& status) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  enum class Reading { kIdle, kInFlight, kReady, kEnded };

  // Waits for the turn to write. False: no more writes are possible.
  bool BeginWrite() ABSL_LOCKS_EXCLUDED(mu_);
  void EndWrite(bool ok) ABSL_LOCKS_EXCLUDED(mu_);

  grpc::ClientContext context_;

  // Belongs to the write in flight, else to the sending thread.
  v1::ReenactRequest request_;
  // Belongs to the read in flight, else to the reading thread.
  v1::ReenactResponse response_;

  Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool write_failed_ ABSL_GUARDED_BY(mu_) = false;
  Reading reading_ ABSL_GUARDED_BY(mu_) = Reading::kIdle;
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mu_);
};

// `status` as absl::Status, with the server's RetryInfo as payload.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace reenact
