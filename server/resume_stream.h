// One call of ResumeJob: takes a job over and sends its answers.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "reenact/v1/reenact.pb.h"
#include "server/answer_stream.h"

namespace reenact {

class ResumeStream final : public grpc::ServerWriteReactor<v1::ReenactResponse>,
                           public AnswerStream {
 public:
  // Starts the stream; it owns itself until gRPC is done with it.
  static ResumeStream* Start(grpc::CallbackServerContext& context,
                             const v1::ResumeJobRequest& request,
                             const CallEnvironment& environment);

 private:
  using AnswerStream::AnswerStream;

  // Reactions.
  void OnWriteDone(bool ok) override { AfterWrite(ok); }
  void OnCancel() override { AfterCancel(); }
  void OnDone() override { AfterDone(); }

  // CallStream.
  void StartWriting() override { StartWrite(&answer()); }
  void FinishCall(const grpc::Status& status) override { Finish(status); }
};

}  // namespace reenact
