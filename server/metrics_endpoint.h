// The HTTP port that Prometheus scrapes: GET /metrics and nothing else.
//
// Not prometheus-cpp's Exposer: its HTTP library runs on stacks of 100 KiB, of which libtorch's
// thread-local storage takes most, and a scrape then ends the process.
//
// One thread answers one connection at a time; a peer has kMaxWait to send its request and to take
// the answer, so a stuck one holds up the others for seconds at most.
#pragma once

#include <prometheus/collectable.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

namespace reenact {

// Thread-safe.
class MetricsEndpoint {
 public:
  // Listens on `address`, host:port; port 0: any free one. kUnavailable: it cannot be bound.
  // `metrics` must outlive the endpoint.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& address, const prometheus::Collectable& metrics);

  // Blocks until the connection that is being answered is done.
  ~MetricsEndpoint();

  MetricsEndpoint(const MetricsEndpoint&) = delete;
  MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;

  int port() const { return port_; }

 private:
  explicit MetricsEndpoint(const prometheus::Collectable& metrics) : metrics_(metrics) {}

  absl::Status Listen(const std::string& address);
  void Run();
  // The whole answer to a request's head.
  std::string Answer(const std::string& request) const;

  // Constant after Start().
  const prometheus::Collectable& metrics_;
  int listen_fd_ = -1;
  int stop_fds_[2] = {-1, -1};  // a pipe: closing its writing end stops the thread
  int port_ = 0;

  std::thread thread_;
};

}  // namespace reenact
