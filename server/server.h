// reenactd as an object: ports, health, metrics, the model's loading, and the way down.
//
// Start() opens the ports at once; the engine loads in a background thread, and until it is there
// the health service says NOT_SERVING for "reenact.v1.ReenactService" and calls get UNAVAILABLE.
//
// Health names: "" is serving while the scheduler thread comes round
// (ServerConfig::heartbeat_timeout); "reenact.v1.ReenactService" is serving from the end of loading
// to the beginning of draining.
//
// Thread-safe.
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "pipeline/engine.h"
#include "server/clock.h"
#include "server/config.h"
#include "server/heartbeat.h"
#include "server/job_runner.h"
#include "server/metrics.h"
#include "server/metrics_endpoint.h"
#include "server/reenact_service.h"

namespace reenact {

class Server {
 public:
  using LoadEngine = std::function<absl::StatusOr<std::unique_ptr<Engine>>()>;

  // Opens the ports and starts to load. `on_stopped` is called once, from a thread of the server,
  // when it has stopped by itself or after Drain(); it must not block. kUnavailable: an address
  // cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config,
                                                       LoadEngine load_engine,
                                                       std::function<void()> on_stopped,
                                                       Clock& clock = Clock::Real());

  // Stops at once: what runs is ended with kUnavailable. Blocks for as long as one call of the
  // engine.
  ~Server();

  // Stops admitting, lets the jobs run for at most ServerConfig::drain_timeout, ends the rest with
  // kUnavailable, closes the ports. Returns at once. The second call does nothing.
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);

  // Waits until the server has stopped. Not OK: the engine could not be loaded.
  absl::Status Wait() ABSL_LOCKS_EXCLUDED(mu_);

  // Waits until the engine is loaded. Not OK: it could not be.
  absl::Status AwaitLoaded() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether the engine is being loaded; the destructor would wait for it.
  bool loading() ABSL_LOCKS_EXCLUDED(mu_);

  // The gRPC addresses a client can use, with real ports, in the order of ServerConfig::listen.
  const std::vector<std::string>& addresses() const { return addresses_; }
  // Of the Prometheus endpoint; 0: off.
  int metrics_port() const { return metrics_port_; }

 private:
  Server(const ServerConfig& config, std::function<void()> on_stopped, Clock& clock);

  absl::Status Open();
  absl::Status OpenMetrics();

  // What the threads do.
  void Load(const LoadEngine& load_engine) ABSL_LOCKS_EXCLUDED(mu_);
  // Alone says how the server is: to the health service and the metrics.
  void Monitor() ABSL_LOCKS_EXCLUDED(mu_);
  void DrainAndStop() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after Start().
  const ServerConfig config_;
  const std::function<void()> on_stopped_;
  Clock& clock_;
  std::vector<std::string> addresses_;
  int metrics_port_ = 0;

  // Provide their own synchronization. Later ones use earlier ones.
  Heartbeat heartbeat_;
  Metrics metrics_;
  ReenactService service_;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint_;
  std::unique_ptr<grpc::Server> grpc_server_;

  // Written by the loading thread before `loaded_`, then constant. Null if loading failed or came
  // too late.
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<JobRunner> runner_;

  Mutex mu_;
  bool state_changed_ ABSL_GUARDED_BY(mu_) = false;
  bool loaded_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status load_status_ ABSL_GUARDED_BY(mu_);
  bool drain_begun_ ABSL_GUARDED_BY(mu_) = false;
  // No jobs are admitted any more.
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_at_once_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;

  std::thread load_thread_;
  std::thread monitor_thread_;
  std::thread drain_thread_;
};

}  // namespace reenact
