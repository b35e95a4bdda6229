#include "client/job_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/job_stream_reactor.h"
#include "reenact/internal/rpc_status.pb.h"

namespace reenact {
namespace {

constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";

constexpr absl::Duration kMaxBackoff = absl::Seconds(2);
// For the server to hear that a job is cancelled.
constexpr absl::Duration kCancelTimeout = absl::Seconds(1);

// Whether a call's end may mean that its connection has broken. A server that ends a job with this
// status says so again when it is asked to go on with it.
bool IsLostConnection(const absl::Status& status) {
  return absl::IsUnavailable(status) ||
         (absl::IsUnknown(status) && absl::StrContains(status.message(), "Stream removed"));
}

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

void CallTerms::ApplyTo(grpc::ClientContext& context) const {
  if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
  if (!tenant.empty()) context.AddMetadata("reenact-tenant", tenant);
}

bool AnswerReader::AfterRead(bool ok) {
  NoteTakeOver(this);
  MutexLock lock(&mu_);
  reading_ = ok ? Reading::kReady : Reading::kEnded;
  return !ok && !writing_;
}

void AnswerReader::AfterDone(const grpc::Status& status) {
  NoteTakeOver(this);
  absl::Status result = FromGrpc(status);
  MutexLock lock(&mu_);
  result_ = std::move(result);
}

absl::StatusOr<std::optional<v1::ReenactResponse>> AnswerReader::Next() {
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
  ReadInto(&response_);
  return response;
}

void AnswerReader::End() {
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
    ReadInto(&response_);
  }
  MutexLock lock(&mu_);
  const auto done = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return result_.has_value(); };
  mu_.Await(absl::Condition(&done));
}

void JobStream::Reactor::Start(v1::ReenactService::Stub& stub, v1::JobConfig config,
                               const CallTerms& terms) {
  terms.ApplyTo(context_);
  *request_.mutable_config() = std::move(config);
  {
    MutexLock lock(&mu_);
    writing_ = true;
    reading_ = Reading::kInFlight;
  }
  stub.async()->Reenact(&context_, this);
  AddHold();
  NoteHandOver(static_cast<AnswerReader*>(this));
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

bool JobStream::Reactor::Write(DrivingFrame&& frame) {
  if (!BeginWrite()) return false;
  request_.mutable_driving_frame()->set_image(std::move(frame.image));
  request_.mutable_driving_frame()->set_pts(frame.pts);
  StartWrite(&request_);
  return true;
}

bool JobStream::Reactor::WriteEnd() {
  if (!BeginWrite()) return false;
  request_.mutable_driving_end();
  StartWriteLast(&request_, grpc::WriteOptions());
  return true;
}

void JobStream::Reactor::OnWriteDone(bool ok) {
  NoteTakeOver(static_cast<AnswerReader*>(this));
  bool let_go = false;
  {
    MutexLock lock(&mu_);
    writing_ = false;
    write_failed_ = write_failed_ || !ok;
    let_go = reading_ == Reading::kEnded;
  }
  if (let_go) RemoveHold();
}

void JobStream::Resumption::Start(v1::ReenactService::Stub& stub, const std::string& job_id,
                                  uint64_t next_sequence_number, const CallTerms& terms) {
  terms.ApplyTo(context_);
  request_.set_job_id(job_id);
  request_.set_next_sequence_number(next_sequence_number);
  {
    MutexLock lock(&mu_);
    reading_ = Reading::kInFlight;
  }
  stub.async()->ResumeJob(&context_, &request_, this);
  AddHold();
  NoteHandOver(static_cast<AnswerReader*>(this));
  StartRead(&response_);
  StartCall();
}

struct JobStream::Cancellation {
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  v1::CancelJobResponse response;

  Mutex mu;
  bool done ABSL_GUARDED_BY(mu) = false;
};

JobStream::JobStream(std::shared_ptr<v1::ReenactService::Stub> stub,
                     std::unique_ptr<Reactor> reactor, std::string key, const CallTerms& terms,
                     JobOptions options)
    : stub_(std::move(stub)),
      key_(std::move(key)),
      terms_(std::make_unique<const CallTerms>(terms)),
      options_(std::move(options)),
      reactor_(std::move(reactor)) {}

JobStream::~JobStream() {
  Cancel();
  if (frames_ != nullptr) frames_->Stop();
  if (feeder_.joinable()) feeder_.join();
  reactor_->End();
  std::unique_ptr<Resumption> resumption;
  std::shared_ptr<Cancellation> cancellation;
  {
    MutexLock lock(&mu_);
    resumption = std::move(resumption_);
    cancellation = cancellation_;
  }
  if (resumption != nullptr) resumption->End();
  if (cancellation == nullptr) return;
  MutexLock lock(&cancellation->mu);
  const auto done = [&cancellation]()
                        ABSL_SHARED_LOCKS_REQUIRED(cancellation->mu) { return cancellation->done; };
  cancellation->mu.AwaitWithTimeout(absl::Condition(&done), kCancelTimeout);
}

bool JobStream::Send(std::string_view bytes) {
  const size_t chunk_bytes = std::max<size_t>(options_.chunk_bytes, 1);
  while (!bytes.empty()) {
    std::string chunk(bytes.substr(0, chunk_bytes));
    bytes.remove_prefix(chunk.size());
    if (!reactor_->Write(std::move(chunk))) return false;
  }
  return true;
}

bool JobStream::SendFrame(DrivingFrame frame) { return reactor_->Write(std::move(frame)); }

bool JobStream::FinishSending() {
  {
    MutexLock lock(&mu_);
    media_complete_ = true;
  }
  return reactor_->WriteEnd();
}

AnswerReader& JobStream::reader() {
  MutexLock lock(&mu_);
  if (resumption_ != nullptr) return *resumption_;
  return *reactor_;
}

absl::StatusOr<std::optional<v1::ReenactResponse>> JobStream::Next() {
  if (end_.has_value()) {
    if (!end_->ok()) return *end_;
    return std::nullopt;
  }
  auto next = reader().Next();
  if (!next.ok() && MayResume(next.status())) next = Resume(next.status());
  if (next.ok() && next->has_value()) {
    if ((*next)->has_accepted()) job_id_ = (*next)->accepted().job_id();
    next_sequence_number_ = (*next)->sequence_number() + 1;
    return next;
  }
  MutexLock lock(&mu_);
  over_ = true;
  end_ = next.status();
  if (!next.ok() && !source_error_.ok()) end_ = source_error_;
  if (!end_->ok()) return *end_;
  return std::nullopt;
}

bool JobStream::MayResume(const absl::Status& status) {
  if (!IsLostConnection(status) || job_id_.empty()) return false;
  MutexLock lock(&mu_);
  return !key_.empty() && media_complete_ && !cancelled_;
}

absl::StatusOr<std::optional<v1::ReenactResponse>> JobStream::Resume(const absl::Status& lost) {
  if (options_.on_connection_lost != nullptr) options_.on_connection_lost(lost);
  const auto cancelled = [] {
    return absl::CancelledError("the job was cancelled while its connection was lost");
  };
  const absl::Time give_up = std::min(absl::Now() + options_.resume_timeout, terms_->deadline);
  absl::Duration backoff = options_.resume_backoff;
  absl::Status problem = lost;
  for (int attempt = 0; attempt < options_.max_resume_attempts; ++attempt) {
    if (attempt > 0) {
      if (!Pause(std::min(backoff, give_up - absl::Now()))) return cancelled();
      backoff = std::min(2 * backoff, kMaxBackoff);
      if (absl::Now() >= give_up) break;
    }
    Resumption* resumption = nullptr;
    std::unique_ptr<Resumption> former;
    {
      MutexLock lock(&mu_);
      if (cancelled_) return cancelled();
      former = std::exchange(resumption_, std::make_unique<Resumption>());
      resumption = resumption_.get();
      resumption->Start(*stub_, job_id_, next_sequence_number_, *terms_);
    }
    former.reset();
    auto next = resumption->Next();
    // Answers that were seen already; none are expected.
    while (next.ok() && next->has_value() && (*next)->sequence_number() < next_sequence_number_) {
      next = resumption->Next();
    }
    if (next.ok()) {
      if (options_.on_resumed != nullptr) options_.on_resumed();
      return next;
    }
    problem = next.status();
    if (absl::IsNotFound(problem) || absl::IsOutOfRange(problem)) {
      return absl::UnavailableError(
          absl::StrCat("the connection was lost (", lost.message(),
                       ") and the server cannot go on with the job: ", problem.message()));
    }
    if (!IsLostConnection(problem)) return problem;
  }
  if (absl::Now() >= terms_->deadline) {
    return absl::DeadlineExceededError("the job's time was over while its connection was lost");
  }
  return absl::UnavailableError(absl::StrCat("the connection was lost (", lost.message(),
                                             ") and did not come back: ", problem.message()));
}

bool JobStream::Pause(absl::Duration duration) {
  MutexLock lock(&mu_);
  const auto cancelled = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return cancelled_; };
  return !mu_.AwaitWithTimeout(absl::Condition(&cancelled),
                               std::max(duration, absl::ZeroDuration()));
}

void JobStream::Cancel() {
  std::shared_ptr<Cancellation> cancellation;
  {
    MutexLock lock(&mu_);
    if (over_ || std::exchange(cancelled_, true)) return;
    reactor_->Cancel();
    if (resumption_ != nullptr) resumption_->Cancel();
    // To the server, the calls look as if their connection had broken.
    if (key_.empty() || !media_complete_) return;
    cancellation_ = cancellation = std::make_shared<Cancellation>();
  }
  cancellation->request.set_idempotency_key(key_);
  CallTerms{.deadline = absl::Now() + kCancelTimeout, .tenant = terms_->tenant}.ApplyTo(
      cancellation->context);
  NoteHandOver(cancellation.get());
  stub_->async()->CancelJob(&cancellation->context, &cancellation->request, &cancellation->response,
                            // The stub holds the channel, without which the call would end.
                            [cancellation, stub = stub_](const grpc::Status&) {
                              NoteTakeOver(cancellation.get());
                              MutexLock lock(&cancellation->mu);
                              cancellation->done = true;
                            });
}

void JobStream::Feed(std::unique_ptr<MediaSource> source) {
  feeder_ = std::thread([this, source = std::move(source)] {
    while (true) {
      std::string chunk;
      if (absl::Status read = source->Read(std::max<size_t>(options_.chunk_bytes, 1), chunk);
          !read.ok()) {
        return EndWith(std::move(read));
      }
      // A call that is over has no use for more bytes; Next() tells its end.
      const bool last = chunk.empty();
      const bool sent = last ? FinishSending() : reactor_->Write(std::move(chunk));
      if (last || !sent) return;
    }
  });
}

void JobStream::Feed(std::unique_ptr<FrameSource> source) {
  frames_ = std::move(source);
  feeder_ = std::thread([this] {
    while (true) {
      auto frame = frames_->Next();
      if (!frame.ok()) return EndWith(frame.status());
      if (!frame->has_value()) {
        (void)FinishSending();  // Next() tells what became of the call
        return;
      }
      if (!SendFrame(*std::move(*frame))) return;
    }
  });
}

void JobStream::EndWith(absl::Status problem) {
  {
    MutexLock lock(&mu_);
    source_error_ = std::move(problem);
  }
  Cancel();
}

}  // namespace reenact
