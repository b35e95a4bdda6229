#include "client/motion_stream.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "client/job_stream_reactor.h"

namespace reenact {

// The gRPC side. One read and one write in flight at most; each operation is waited for by the
// thread that starts it.
//
// Life: the start of the call puts one hold on it, so that operations may be started outside of
// reactions. The hold goes when the stream has ended (a read failed) and no write is in flight;
// only then does gRPC call OnDone.
class MotionStream::Reactor final
    : public grpc::ClientBidiReactor<v1::ExtractMotionRequest, v1::ExtractMotionResponse> {
 public:
  Reactor(v1::ReenactService::Stub& stub, const CallTerms& terms) {
    terms.ApplyTo(context_);
    stub.async()->ExtractMotion(&context_, this);
    AddHold();
    NoteHandOver(this);
    StartCall();
  }

  // False: the call is over.
  bool Write(const v1::ExtractMotionRequest& request) {
    return DoWrite([&] { StartWrite(&request); });
  }
  bool WriteEnd() {
    return DoWrite([this] { StartWritesDone(); });
  }

  // False: the stream has ended.
  bool Read(v1::ExtractMotionResponse& response) {
    {
      MutexLock lock(&mu_);
      if (ended_) return false;
      reading_ = true;
    }
    StartRead(&response);
    MutexLock lock(&mu_);
    const auto read = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !reading_; };
    mu_.Await(absl::Condition(&read));
    return !ended_;
  }

  // After the end of the stream.
  absl::Status AwaitResult() {
    MutexLock lock(&mu_);
    const auto done = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return result_.has_value(); };
    mu_.Await(absl::Condition(&done));
    return *result_;
  }

  void Cancel() { context_.TryCancel(); }

 private:
  template <typename Start>
  bool DoWrite(Start&& start) {
    {
      MutexLock lock(&mu_);
      if (ended_) return false;
      writing_ = true;
    }
    start();
    MutexLock lock(&mu_);
    const auto written = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !writing_; };
    mu_.Await(absl::Condition(&written));
    return !write_failed_;
  }

  void OnReadDone(bool ok) override {
    NoteTakeOver(this);
    bool let_go = false;
    {
      MutexLock lock(&mu_);
      reading_ = false;
      ended_ = !ok;
      let_go = ended_ && !writing_;
    }
    if (let_go) RemoveHold();
  }
  void OnWriteDone(bool ok) override { AfterWrite(ok); }
  void OnWritesDoneDone(bool ok) override { AfterWrite(ok); }
  void AfterWrite(bool ok) {
    NoteTakeOver(this);
    bool let_go = false;
    {
      MutexLock lock(&mu_);
      writing_ = false;
      write_failed_ = write_failed_ || !ok;
      let_go = ended_;
    }
    if (let_go) RemoveHold();
  }
  void OnDone(const grpc::Status& status) override {
    NoteTakeOver(this);
    absl::Status result = FromGrpc(status);
    MutexLock lock(&mu_);
    result_ = std::move(result);
  }

  grpc::ClientContext context_;

  Mutex mu_;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool write_failed_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> result_ ABSL_GUARDED_BY(mu_);
};

MotionStream::MotionStream(std::shared_ptr<v1::ReenactService::Stub> stub,
                           const std::string& tenant, v1::ExtractMotionConfig config,
                           std::unique_ptr<MediaSource> driving, const ExtractOptions& options)
    : stub_(std::move(stub)),
      reactor_(std::make_unique<Reactor>(
          *stub_, CallTerms{.deadline = absl::Now() + options.timeout, .tenant = tenant})) {
  feeder_ = std::thread([this, config = std::move(config), driving = std::move(driving),
                         chunk_bytes = std::max<size_t>(options.chunk_bytes, 1)] {
    v1::ExtractMotionRequest request;
    *request.mutable_config() = config;
    // A write fails when the call is over; Next() says why.
    if (reactor_->Write(request)) Send(*driving, chunk_bytes);
  });
}

MotionStream::~MotionStream() {
  if (end_.has_value()) return;
  Cancel();
  while (!end_.has_value()) Next().IgnoreError();
}

void MotionStream::Cancel() { reactor_->Cancel(); }

void MotionStream::Send(MediaSource& driving, size_t chunk_bytes) {
  v1::ExtractMotionRequest request;
  do {
    const absl::Status read = driving.Read(chunk_bytes, *request.mutable_driving_chunk());
    if (!read.ok()) {
      {
        MutexLock lock(&mu_);
        source_error_ = read;
      }
      return Cancel();
    }
    if (request.driving_chunk().empty()) {
      reactor_->WriteEnd();
      return;
    }
  } while (reactor_->Write(request));
}

absl::StatusOr<std::optional<std::string>> MotionStream::Next() {
  v1::ExtractMotionResponse response;
  while (!end_.has_value()) {
    if (!reactor_->Read(response)) {
      feeder_.join();  // writes fail from now on
      end_ = reactor_->AwaitResult();
      MutexLock lock(&mu_);
      if (!source_error_.ok()) end_ = source_error_;
      if (end_->ok() && !summary_.has_value()) {
        end_ = absl::InternalError("the server ended the extraction without a summary");
      }
      break;
    }
    // Anything else is an answer of a later version of the contract.
    if (response.has_template_chunk()) return std::move(*response.mutable_template_chunk());
    if (response.has_summary()) summary_ = std::move(*response.mutable_summary());
  }
  if (!end_->ok()) return *end_;
  return std::nullopt;
}

}  // namespace reenact
