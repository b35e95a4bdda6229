#include "client/job_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/time/clock.h"
#include "client/job_stream_reactor.h"
#include "reenact/internal/rpc_status.pb.h"

namespace reenact {
namespace {

constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // The two enumerations have the same numbers.
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  internal::RpcStatus details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return result;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfoUrl);
  internal::RetryInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return std::nullopt;
  return absl::Seconds(info.retry_delay().seconds()) +
         absl::Nanoseconds(info.retry_delay().nanos());
}

void JobStream::Reactor::Start(v1::ReenactService::Stub& stub, v1::JobConfig config,
                               absl::Time deadline) {
  if (deadline != absl::InfiniteFuture()) context_.set_deadline(absl::ToChronoTime(deadline));
  *request_.mutable_config() = std::move(config);
  {
    MutexLock lock(&mu_);
    writing_ = true;
    reading_ = Reading::kInFlight;
  }
  stub.async()->Reenact(&context_, this);
  AddHold();
  StartWrite(&request_);
  StartRead(&response_);
  StartCall();
}

bool JobStream::Reactor::BeginWrite() {
  MutexLock lock(&mu_);
  const auto my_turn = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !writing_ || reading_ == Reading::kEnded;
  };
  mu_.Await(absl::Condition(&my_turn));
  if (write_failed_ || reading_ == Reading::kEnded) return false;
  writing_ = true;
  return true;
}

bool JobStream::Reactor::Write(std::string&& chunk) {
  if (!BeginWrite()) return false;
  request_.set_driving_chunk(std::move(chunk));
  StartWrite(&request_);
  return true;
}

bool JobStream::Reactor::WritesDone() {
  if (!BeginWrite()) return false;
  StartWritesDone();
  return true;
}

void JobStream::Reactor::EndWrite(bool ok) {
  bool let_go = false;
  {
    MutexLock lock(&mu_);
    writing_ = false;
    write_failed_ = write_failed_ || !ok;
    let_go = reading_ == Reading::kEnded;
  }
  if (let_go) RemoveHold();
}

void JobStream::Reactor::OnReadDone(bool ok) {
  bool let_go = false;
  {
    MutexLock lock(&mu_);
    reading_ = ok ? Reading::kReady : Reading::kEnded;
    let_go = !ok && !writing_;
  }
  if (let_go) RemoveHold();
}

void JobStream::Reactor::OnDone(const grpc::Status& status) {
  absl::Status result = FromGrpc(status);
  MutexLock lock(&mu_);
  result_ = std::move(result);
}

absl::StatusOr<std::optional<v1::ReenactResponse>> JobStream::Reactor::Next() {
  v1::ReenactResponse response;
  {
    MutexLock lock(&mu_);
    const auto something = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return reading_ == Reading::kReady || result_.has_value();
    };
    mu_.Await(absl::Condition(&something));
    if (reading_ != Reading::kReady) {
      if (!result_->ok()) return *result_;
      return std::nullopt;
    }
    response.Swap(&response_);
    reading_ = Reading::kInFlight;
  }
  StartRead(&response_);
  return response;
}

void JobStream::Reactor::End() {
  context_.TryCancel();
  const auto landed = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return reading_ != Reading::kInFlight;
  };
  // The end of the stream is only seen by reading on past the answers nobody took.
  while (true) {
    {
      MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&landed));
      if (reading_ == Reading::kEnded) break;
      reading_ = Reading::kInFlight;
    }
    StartRead(&response_);
  }
  MutexLock lock(&mu_);
  const auto done = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return result_.has_value(); };
  mu_.Await(absl::Condition(&done));
}

JobStream::JobStream(std::unique_ptr<Reactor> reactor, size_t chunk_bytes)
    : chunk_bytes_(std::max<size_t>(chunk_bytes, 1)), reactor_(std::move(reactor)) {}

JobStream::~JobStream() {
  reactor_->Cancel();
  if (feeder_.joinable()) feeder_.join();
  reactor_->End();
}

bool JobStream::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    std::string chunk(bytes.substr(0, chunk_bytes_));
    bytes.remove_prefix(chunk.size());
    if (!reactor_->Write(std::move(chunk))) return false;
  }
  return true;
}

bool JobStream::FinishSending() { return reactor_->WritesDone(); }

absl::StatusOr<std::optional<v1::ReenactResponse>> JobStream::Next() {
  auto next = reactor_->Next();
  if (next.ok()) return next;
  MutexLock lock(&mu_);
  if (!source_error_.ok()) return source_error_;
  return next;
}

void JobStream::Cancel() { reactor_->Cancel(); }

void JobStream::Feed(std::unique_ptr<MediaSource> source) {
  feeder_ = std::thread([this, source = std::move(source)] {
    while (true) {
      std::string chunk;
      if (absl::Status read = source->Read(chunk_bytes_, chunk); !read.ok()) {
        {
          MutexLock lock(&mu_);
          source_error_ = std::move(read);
        }
        reactor_->Cancel();
        return;
      }
      // A call that is over has no use for more bytes; Next() tells its end.
      const bool last = chunk.empty();
      const bool sent = last ? reactor_->WritesDone() : reactor_->Write(std::move(chunk));
      if (last || !sent) return;
    }
  });
}

}  // namespace reenact
