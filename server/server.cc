#include "server/server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <limits>
#include <mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/log.h"

namespace reenact {
namespace {

constexpr char kServiceName[] = "reenact.v1.ReenactService";

// How often the monitor looks at the heartbeat.
constexpr absl::Duration kMonitorInterval = absl::Seconds(1);
// From the end of the last job to the closing of its stream, and from cancelling to the job's end.
constexpr absl::Duration kClosingGrace = absl::Seconds(5);
// HTTP/2 window of one call: at a round trip of 20 ms it passes 50 MB/s, far beyond any video.
constexpr int kWindowBytes = 1 << 20;
// Clients may ping this often while they have no call.
constexpr absl::Duration kMinPingInterval = absl::Seconds(10);

int ToMilliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

// These settings belong to the process, not to a server, and want to come before the first builder.
void InitGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Without this, gRPC 1.51 shuts down with the last server and may then wait up to 10 s for one
    // of its own threads (a poll that nothing wakes). Its threads idle until the process ends
    // instead.
    grpc_init();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

// `address` with the port that was really taken.
std::string RealAddress(const std::string& address, int port) {
  if (absl::StartsWith(address, "unix:")) return address;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerConfig& config,
                                                      LoadEngine load_engine,
                                                      std::function<void()> on_stopped,
                                                      Clock& clock) {
  std::unique_ptr<Server> server(new Server(config, std::move(on_stopped), clock));
  if (const absl::Status status = server->Open(); !status.ok()) return status;
  server->monitor_thread_ = std::thread([raw = server.get()] { raw->Monitor(); });
  server->load_thread_ =
      std::thread([raw = server.get(), load = std::move(load_engine)] { raw->Load(load); });
  return server;
}

Server::Server(const ServerConfig& config, std::function<void()> on_stopped, Clock& clock)
    : config_(config),
      on_stopped_(std::move(on_stopped)),
      clock_(clock),
      service_(config.max_message_bytes, clock, metrics_) {
  metrics_.SetHeartbeatAge([this] { return heartbeat_.Age(clock_.TimeNow()); });
}

absl::Status Server::Open() {
  if (const absl::Status status = OpenMetrics(); !status.ok()) return status;

  InitGrpc();
  grpc::ServerBuilder builder;
  builder.RegisterService(&service_);
  // The media is compressed already, and a compressed message could unpack beyond its limit.
  builder.SetDefaultCompressionAlgorithm(GRPC_COMPRESS_NONE);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetMaxReceiveMessageSize(static_cast<int>(config_.max_message_bytes));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, ToMilliseconds(config_.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             ToMilliseconds(config_.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             ToMilliseconds(kMinPingInterval));
  // What may lie in a call's HTTP/2 window before the server reads it. Without this gRPC widens the
  // window with the speed of the line, also for calls that nobody reads.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  // A second server on the same port is an error, not a silent sharing of calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  std::vector<int> ports(config_.listen.size(), 0);
  for (size_t i = 0; i < config_.listen.size(); ++i) {
    builder.AddListeningPort(config_.listen[i], grpc::InsecureServerCredentials(), &ports[i]);
  }
  grpc_server_ = builder.BuildAndStart();
  for (size_t i = 0; i < config_.listen.size(); ++i) {
    if (grpc_server_ == nullptr || ports[i] == 0) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", config_.listen[i],
                                                 ": the address is in use or not ours"));
    }
    addresses_.push_back(RealAddress(config_.listen[i], ports[i]));
  }
  grpc_server_->GetHealthCheckService()->SetServingStatus(kServiceName, false);
  for (const std::string& address : addresses_) {
    Log(LogLevel::kInfo, "listening", {{"address", address}});
  }
  return absl::OkStatus();
}

absl::Status Server::OpenMetrics() {
  if (config_.metrics_listen == "off") return absl::OkStatus();
  auto endpoint = MetricsEndpoint::Start(config_.metrics_listen, metrics_);
  if (!endpoint.ok()) return endpoint.status();
  metrics_endpoint_ = *std::move(endpoint);
  metrics_port_ = metrics_endpoint_->port();
  Log(LogLevel::kInfo, "metrics listening",
      {{"address", RealAddress(config_.metrics_listen, metrics_port_)}});
  return absl::OkStatus();
}

Server::~Server() {
  bool loaded = false;
  {
    MutexLock lock(&mu_);
    stop_at_once_ = true;
    loaded = loaded_;
  }
  Drain();
  // For a drain that has begun to wait before stop_at_once_ was set.
  if (loaded && runner_ != nullptr) {
    runner_->CancelAll(absl::UnavailableError("the server is shutting down"));
  }
  for (std::thread* thread : {&load_thread_, &drain_thread_, &monitor_thread_}) {
    if (thread->joinable()) thread->join();
  }
  // Only if Start() failed half way does a server still run here.
  if (grpc_server_ != nullptr) grpc_server_->Shutdown();
  metrics_.SetHeartbeatAge(nullptr);
}

void Server::Load(const LoadEngine& load_engine) {
  const absl::Time start = clock_.TimeNow();
  absl::StatusOr<std::unique_ptr<Engine>> engine = load_engine();
  const absl::Status status = engine.status();
  bool too_late = false;
  {
    MutexLock lock(&mu_);
    too_late = drain_begun_;
  }
  if (status.ok() && !too_late) {
    engine_ = *std::move(engine);
    runner_ = std::make_unique<JobRunner>(config_, *engine_, clock_, heartbeat_, metrics_);
    metrics_.SetModels(engine_->models());
    service_.SetRunner(runner_.get());
    for (const ModelInfo& model : engine_->models()) {
      Log(LogLevel::kInfo, "model loaded",
          {{"model", model.name},
           {"bundle_sha256", model.bundle_sha256},
           {"device", model.device},
           {"gflop_per_second", model.gflop_per_second},
           {"seconds", absl::ToDoubleSeconds(clock_.TimeNow() - start)}});
    }
  }
  {
    MutexLock lock(&mu_);
    loaded_ = true;
    load_status_ = status;
    state_changed_ = true;
  }
  if (!status.ok()) Drain();
}

absl::Status Server::AwaitLoaded() {
  MutexLock lock(&mu_);
  const auto loaded = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return loaded_; };
  mu_.Await(absl::Condition(&loaded));
  return load_status_;
}

bool Server::loading() {
  MutexLock lock(&mu_);
  return !loaded_;
}

void Server::Monitor() {
  grpc::HealthCheckServiceInterface& health = *grpc_server_->GetHealthCheckService();
  const auto has_reason = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return state_changed_ || stopped_;
  };
  bool was_ready = false, was_alive = true, was_draining = false;
  while (true) {
    bool ready = false, draining = false;
    JobRunner* runner = nullptr;
    {
      MutexLock lock(&mu_);
      clock_.AwaitWithDeadline(&mu_, absl::Condition(&has_reason),
                               clock_.TimeNow() + kMonitorInterval);
      if (stopped_) return;
      state_changed_ = false;
      draining = draining_;
      ready = loaded_ && load_status_.ok() && !draining_;
      if (loaded_) runner = runner_.get();
    }
    if (runner != nullptr) runner->ForgetOldJobs();
    const bool alive = heartbeat_.Age(clock_.TimeNow()) <= config_.heartbeat_timeout;
    if (ready != was_ready) health.SetServingStatus(kServiceName, ready);
    if (alive != was_alive) {
      health.SetServingStatus("", alive);
      Log(alive ? LogLevel::kInfo : LogLevel::kError,
          alive ? "the scheduler thread has come round again" : "the scheduler thread is stuck");
    }
    if (ready && !was_ready) Log(LogLevel::kInfo, "ready");
    metrics_.SetReady(ready);
    if (draining && !was_draining) metrics_.SetDraining(true);
    was_ready = ready;
    was_alive = alive;
    was_draining = draining;
  }
}

void Server::Drain() {
  JobRunner* runner = nullptr;
  {
    MutexLock lock(&mu_);
    // Without a monitor Start() has failed: there is nothing to drain and nobody to tell.
    if (std::exchange(drain_begun_, true) || !monitor_thread_.joinable()) return;
    if (loaded_) runner = runner_.get();
  }
  // Before the health service says so: whoever sees it draining is refused as well.
  if (runner != nullptr) runner->StopAdmitting();
  MutexLock lock(&mu_);
  draining_ = true;
  state_changed_ = true;
  drain_thread_ = std::thread([this] { DrainAndStop(); });
}

void Server::DrainAndStop() {
  JobRunner* runner = nullptr;
  bool at_once = false;
  {
    MutexLock lock(&mu_);
    if (loaded_) runner = runner_.get();
    at_once = stop_at_once_;
  }
  Log(LogLevel::kInfo, "draining",
      {{"timeout_seconds", absl::ToDoubleSeconds(config_.drain_timeout)}});
  if (runner != nullptr) {
    runner->StopAdmitting();  // for a runner that came after Drain() had looked
    const absl::Duration timeout = at_once ? absl::ZeroDuration() : config_.drain_timeout;
    if (!runner->AwaitIdle(clock_.TimeNow() + timeout)) {
      runner->CancelAll(absl::UnavailableError("the server is shutting down"));
      runner->AwaitIdle(clock_.TimeNow() + kClosingGrace);
    }
  }
  // Streams whose job has ended get the time to read their last messages. Without an engine there
  // have been none.
  const bool nobody_reads = at_once || runner == nullptr;
  grpc_server_->Shutdown(
      std::chrono::system_clock::now() +
      absl::ToChronoMilliseconds(nobody_reads ? absl::Milliseconds(200) : kClosingGrace));
  Log(LogLevel::kInfo, "stopped");
  {
    MutexLock lock(&mu_);
    stopped_ = true;
  }
  if (on_stopped_) on_stopped_();
}

absl::Status Server::Wait() {
  MutexLock lock(&mu_);
  const auto stopped = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopped_; };
  mu_.Await(absl::Condition(&stopped));
  return loaded_ ? load_status_ : absl::OkStatus();
}

}  // namespace reenact
