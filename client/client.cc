#include "client/client.h"

#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "client/job_stream_reactor.h"
#include "grpc/grpc.h"
#include "grpcpp/generic/generic_stub.h"

namespace reenact {
namespace {

// The two messages of grpc.health.v1 have one field each, and no library of Debian's carries them:
// HealthCheckRequest { string service = 1; } HealthCheckResponse { ServingStatus status = 1; }.
grpc::ByteBuffer HealthRequest(const std::string& service) {
  std::string bytes;
  if (!service.empty()) {
    bytes.push_back(0x0a);                               // field 1, length-delimited
    bytes.push_back(static_cast<char>(service.size()));  // names are far below 128 bytes
    bytes += service;
  }
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// 0 unknown, 1 serving, 2 not serving, 3 service unknown; -1: not such a message.
int HealthStatus(const grpc::ByteBuffer& response) {
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok()) return -1;
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  if (bytes.empty()) return 0;
  return bytes.size() == 2 && bytes[0] == 0x08 ? bytes[1] : -1;  // field 1, varint
}

// 128 random bits from the system, as text.
std::string RandomKey() {
  std::random_device device;
  std::string key;
  for (int i = 0; i < 4; ++i) absl::StrAppendFormat(&key, "%08x", device());
  return key;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& target,
                                                        const ClientOptions& options) {
  // Without this, gRPC 1.51 shuts down with the last channel and may then wait up to 10 s for one
  // of its own threads (a poll that nothing wakes). Its threads idle until the process ends
  // instead.
  static const bool grpc_stays = [] {
    grpc_init();
    return true;
  }();
  (void)grpc_stays;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_response_bytes);
  arguments.SetMaxSendMessageSize(-1);  // the server's limit counts
  // Connections of its own, so that another client's failed attempts do not delay this one's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // A connection that is dead without a word is noticed while a job runs.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  // What a server may send of one job before it is read here is what can be lost on the way and
  // must be kept there to be sent again: bounded, and well above what a fast line needs.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 20);
  auto channel = grpc::CreateCustomChannel(
      target, options.credentials ? options.credentials : grpc::InsecureChannelCredentials(),
      arguments);
  std::unique_ptr<Client> client(new Client(std::move(channel), options));
  const auto health =
      client->Check("", absl::Now() + options.connect_timeout, options.wait_for_server);
  // Whatever a server answers, it is there.
  if (!health.ok() &&
      (absl::IsUnavailable(health.status()) || absl::IsDeadlineExceeded(health.status()))) {
    return absl::UnavailableError(
        absl::StrCat("no server at ", target, ": ", health.status().message()));
  }
  return client;
}

Client::Client(std::shared_ptr<grpc::Channel> channel, ClientOptions options)
    : options_(std::move(options)),
      channel_(std::move(channel)),
      stub_(v1::ReenactService::NewStub(channel_)) {}

std::unique_ptr<JobStream> Client::Start(v1::JobConfig config, std::unique_ptr<MediaSource> driving,
                                         const JobOptions& options) {
  auto job = Start(std::move(config), options);
  job->Feed(std::move(driving));
  return job;
}

std::unique_ptr<JobStream> Client::Start(v1::JobConfig config, std::unique_ptr<FrameSource> driving,
                                         const JobOptions& options) {
  auto job = Start(std::move(config), options);
  job->Feed(std::move(driving));
  return job;
}

std::unique_ptr<JobStream> Client::Start(v1::JobConfig config, const JobOptions& options) {
  const bool resumable =
      options.resume_timeout > absl::ZeroDuration() && options.max_resume_attempts > 0;
  if (resumable && config.idempotency_key().empty()) config.set_idempotency_key(RandomKey());
  std::string key = resumable ? config.idempotency_key() : "";
  const CallTerms terms = {.deadline = absl::Now() + options.timeout, .tenant = options_.tenant};
  auto reactor = std::make_unique<JobStream::Reactor>();
  reactor->Start(*stub_, std::move(config), terms);
  return std::unique_ptr<JobStream>(
      new JobStream(stub_, std::move(reactor), std::move(key), terms, options));
}

std::unique_ptr<MotionStream> Client::ExtractMotion(v1::ExtractMotionConfig config,
                                                    std::unique_ptr<MediaSource> driving,
                                                    const ExtractOptions& options) {
  return std::unique_ptr<MotionStream>(
      new MotionStream(stub_, options_.tenant, std::move(config), std::move(driving), options));
}

CallTerms Client::Terms() const {
  return {.deadline = absl::Now() + options_.call_timeout, .tenant = options_.tenant};
}

absl::StatusOr<v1::Job> Client::GetJob(const std::string& job_id) {
  grpc::ClientContext context;
  Terms().ApplyTo(context);
  v1::GetJobRequest request;
  request.set_job_id(job_id);
  v1::GetJobResponse response;
  if (grpc::Status status = stub_->GetJob(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& job_id) {
  grpc::ClientContext context;
  Terms().ApplyTo(context);
  v1::CancelJobRequest request;
  request.set_job_id(job_id);
  v1::CancelJobResponse response;
  if (grpc::Status status = stub_->CancelJob(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels() {
  grpc::ClientContext context;
  Terms().ApplyTo(context);
  v1::ListModelsResponse response;
  if (grpc::Status status = stub_->ListModels(&context, {}, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

absl::StatusOr<Health> Client::CheckHealth(const std::string& service) {
  if (service.size() > 127)
    return absl::InvalidArgumentError("a service name has 127 bytes at most");
  return Check(service, absl::Now() + options_.call_timeout, /*wait_for_ready=*/false);
}

absl::StatusOr<Health> Client::Check(const std::string& service, absl::Time deadline,
                                     bool wait_for_ready) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  context.set_wait_for_ready(wait_for_ready);
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
  const grpc::ByteBuffer request = HealthRequest(service);
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification done;
  NoteHandOver(&done);
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                 [&](grpc::Status result) {
                   NoteTakeOver(&done);
                   status = std::move(result);
                   NoteHandOver(&done);
                   done.Notify();
                 });
  done.WaitForNotification();
  NoteTakeOver(&done);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) return Health::kUnknownService;
  if (!status.ok()) return FromGrpc(status);
  switch (HealthStatus(response)) {
    case 1:
      return Health::kServing;
    case 3:
      return Health::kUnknownService;
    case 0:
    case 2:
      return Health::kNotServing;
    default:
      return absl::InternalError("the server's health service sent something else");
  }
}

}  // namespace reenact
