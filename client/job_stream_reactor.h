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

// The reading half of a call that answers with a job's answers.
//
// One read in flight at most, each started when its predecessor's result has been taken.
//
// Life: the start of the call puts one hold on it, so that operations may be started outside of
// reactions. The hold goes when the stream has ended (a read failed) and no write is in flight;
// only then does gRPC call OnDone. Reactions come on gRPC's threads and never block.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;

  // As JobStream::Next, for this call alone.
  absl::StatusOr<std::optional<v1::ReenactResponse>> Next() ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel() { context_.TryCancel(); }

  // Cancels and waits for OnDone. Nothing may be called afterwards, nor be running.
  void End() ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  enum class Reading { kIdle, kInFlight, kReady, kEnded };

  virtual void ReadInto(v1::ReenactResponse* response) = 0;

  // To be called in the reactions. AfterRead returns whether the call is to be let go of.
  bool AfterRead(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void AfterDone(const grpc::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  grpc::ClientContext context_;
  // Belongs to the read in flight, else to the reading thread.
  v1::ReenactResponse response_;

  Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  Reading reading_ ABSL_GUARDED_BY(mu_) = Reading::kIdle;
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mu_);
};

// What a call of a job is started with.
struct CallTerms {
  absl::Time deadline = absl::InfiniteFuture();
  std::string tenant;

  void ApplyTo(grpc::ClientContext& context) const;
};

// A Reenact call. One write in flight at most.
class JobStream::Reactor final
    : public grpc::ClientBidiReactor<v1::ReenactRequest, v1::ReenactResponse>,
      public AnswerReader {
 public:
  // Sends `config`. `stub` is used in this call only.
  void Start(v1::ReenactService::Stub& stub, v1::JobConfig config, const CallTerms& terms);

  bool Write(std::string&& chunk) ABSL_LOCKS_EXCLUDED(mu_);
  bool Write(DrivingFrame&& frame) ABSL_LOCKS_EXCLUDED(mu_);
  // Says that there is no more to write.
  bool WriteEnd() ABSL_LOCKS_EXCLUDED(mu_);

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnReadDone(bool ok) override {
    if (AfterRead(ok)) RemoveHold();
  }
  void OnDone(const grpc::Status& status) override { AfterDone(status); }

 private:
  void ReadInto(v1::ReenactResponse* response) override { StartRead(response); }

  // Waits for the turn to write. False: no more writes are possible.
  bool BeginWrite() ABSL_LOCKS_EXCLUDED(mu_);

  // Belongs to the write in flight, else to the sending thread.
  v1::ReenactRequest request_;

  bool write_failed_ ABSL_GUARDED_BY(mu_) = false;
};

// A ResumeJob call.
class JobStream::Resumption final : public grpc::ClientReadReactor<v1::ReenactResponse>,
                                    public AnswerReader {
 public:
  // `stub` is used in this call only.
  void Start(v1::ReenactService::Stub& stub, const std::string& job_id,
             uint64_t next_sequence_number, const CallTerms& terms);

  void OnReadDone(bool ok) override {
    if (AfterRead(ok)) RemoveHold();
  }
  void OnDone(const grpc::Status& status) override { AfterDone(status); }

 private:
  void ReadInto(v1::ReenactResponse* response) override { StartRead(response); }

  v1::ResumeJobRequest request_;
};

// `status` as absl::Status, with the server's RetryInfo as payload.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace reenact
