// One call of Reenact: moves messages between gRPC and a job.
//
// At most one read is in flight. Reading stops while the job's inbox is full, so a fast client
// costs bounded memory. AnswerStream is the other direction.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "reenact/v1/reenact.pb.h"
#include "server/answer_stream.h"

namespace reenact {

class ReenactStream final : public grpc::ServerBidiReactor<v1::ReenactRequest, v1::ReenactResponse>,
                            public AnswerStream {
 public:
  // Starts the stream; it owns itself until gRPC is done with it.
  static ReenactStream* Start(grpc::CallbackServerContext& context,
                              const CallEnvironment& environment);

 private:
  using AnswerStream::AnswerStream;

  // Reactions.
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(read_mu_);
  void OnWriteDone(bool ok) override { AfterWrite(ok); }
  void OnCancel() override { AfterCancel(); }
  void OnDone() override { AfterDone(); }

  // AnswerStream.
  void StartWriting(const v1::ReenactResponse& answer) override { StartWrite(&answer); }
  void FinishCall(const grpc::Status& status) override { Finish(status); }
  void PumpRead() override ABSL_LOCKS_EXCLUDED(read_mu_);

  void TakeMessage(v1::ReenactRequest& message);
  void TakeConfig(v1::JobConfig& config);
  void EndOfInput();
  // A fault of the client: ends the job if there is one, else the call.
  void Refuse(const absl::Status& status);

  // Owned by gRPC while a read is in flight.
  v1::ReenactRequest request_;
  // The call has taken over a job that was there before: what it sends is not needed. Read and
  // written between reads.
  bool ignores_input_ = false;

  Mutex read_mu_;
  bool read_in_flight_ ABSL_GUARDED_BY(read_mu_) = false;
  bool reads_over_ ABSL_GUARDED_BY(read_mu_) = false;
};

}  // namespace reenact
