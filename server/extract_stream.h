// One call of ExtractMotion: moves messages between gRPC and an extraction.
//
// It reads no further while the extraction's inbox is full, nor the extraction while its outbox is.
// The extraction ends with the call. Threads: CallStream's.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "reenact/v1/reenact.pb.h"
#include "server/call_stream.h"
#include "server/extraction_runner.h"

namespace reenact {

class ExtractStream final
    : public grpc::ServerBidiReactor<v1::ExtractMotionRequest, v1::ExtractMotionResponse>,
      public CallStream,
      public ExtractionRunner::Listener {
 public:
  // Starts the stream; it owns itself until gRPC is done with it.
  static ExtractStream* Start(grpc::CallbackServerContext& context,
                              const CallEnvironment& environment);

  void OnExtractionChanged() override { Pump(); }

 private:
  using Extraction = std::shared_ptr<ExtractionRunner::Extraction>;

  using CallStream::CallStream;

  // Reactions.
  void OnReadDone(bool ok) override { AfterRead(ok); }
  void OnWriteDone(bool ok) override { AfterWrite(ok); }
  void OnCancel() override { AfterCancel(); }
  void OnDone() override { AfterDone(); }

  // CallStream.
  void StartReading() override { StartRead(&request_); }
  void StartWriting() override { StartWrite(&response_); }
  void FinishCall(const grpc::Status& status) override { Finish(status); }
  bool WantsRead() const override;
  void TakeRead() override;
  void EndOfInput() override;
  Turn NextTurn() override;
  void OnLost(const absl::Status& reason) override;

  void TakeConfig(v1::ExtractMotionConfig config);
  // A fault of the client: ends the extraction if there is one, else the call.
  void Refuse(const absl::Status& status);

  Extraction extraction() const ABSL_LOCKS_EXCLUDED(extraction_mu_);
  ExtractionRunner& extractions() const { return runner_->extractions(); }

  // Owned by gRPC while a read or a write is in flight.
  v1::ExtractMotionRequest request_;
  v1::ExtractMotionResponse response_;

  mutable Mutex extraction_mu_;
  Extraction extraction_ ABSL_GUARDED_BY(extraction_mu_);
};

}  // namespace reenact
