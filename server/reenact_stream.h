// One call of Reenact: moves messages between gRPC and a job.
//
// AnswerStream is the other direction.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>

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
  void OnReadDone(bool ok) override { AfterRead(ok); }
  void OnWriteDone(bool ok) override { AfterWrite(ok); }
  void OnCancel() override { AfterCancel(); }
  void OnDone() override { AfterDone(); }

  // CallStream.
  void StartReading() override { StartRead(&request_); }
  void StartWriting() override { StartWrite(&answer()); }
  void FinishCall(const grpc::Status& status) override { Finish(status); }
  bool WantsRead() const override;
  void TakeRead() override;
  void EndOfInput() override;

  void TakeConfig(v1::JobConfig& config);
  // A fault of the client: ends the job if there is one, else the call.
  void Refuse(const absl::Status& status);

  // Owned by gRPC while a read is in flight.
  v1::ReenactRequest request_;
  // The call has taken over a job that was there before: what it sends is not needed.
  std::atomic<bool> ignores_input_ = false;
};

}  // namespace reenact
