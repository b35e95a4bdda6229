#include "server/metrics_endpoint.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr timeval kMaxWait = {.tv_sec = 5, .tv_usec = 0};
// Longest request head; a scraper's is a few hundred bytes.
constexpr size_t kMaxRequestBytes = 8192;

std::string Response(const char* status, const std::string& body) {
  return absl::StrCat("HTTP/1.1 ", status,
                      "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"
                      "\r\nContent-Length: ",
                      body.size(), "\r\nConnection: close\r\n\r\n", body);
}

// Reads up to the empty line that ends the head. What came so far if the peer is slow, long or
// gone.
std::string ReadRequest(int fd) {
  std::string request;
  char buffer[1024];
  while (request.size() < kMaxRequestBytes && !absl::StrContains(request, "\r\n\r\n")) {
    const ssize_t num_read = recv(fd, buffer, sizeof(buffer), 0);
    if (num_read <= 0) break;
    request.append(buffer, static_cast<size_t>(num_read));
  }
  return request;
}

void WriteAll(int fd, const std::string& bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t num_written =
        send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    // A scraper that goes away misses one scrape and will come back.
    if (num_written <= 0) return;
    written += static_cast<size_t>(num_written);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& address, const prometheus::Collectable& metrics) {
  std::unique_ptr<MetricsEndpoint> endpoint(new MetricsEndpoint(metrics));
  if (const absl::Status status = endpoint->Listen(address); !status.ok()) return status;
  endpoint->thread_ = std::thread([raw = endpoint.get()] { raw->Run(); });
  return endpoint;
}

MetricsEndpoint::~MetricsEndpoint() {
  if (stop_fds_[1] >= 0) close(stop_fds_[1]);
  if (thread_.joinable()) thread_.join();
  if (stop_fds_[0] >= 0) close(stop_fds_[0]);
  if (listen_fd_ >= 0) close(listen_fd_);
}

absl::Status MetricsEndpoint::Listen(const std::string& address) {
  const absl::Status failed = absl::UnavailableError(absl::StrCat(
      "cannot listen on ", address, " for metrics: the address is in use or not ours"));
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return failed;
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);

  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return failed;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);

  listen_fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listen_fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (listen_fd_ < 0 || bind(listen_fd_, found->ai_addr, found->ai_addrlen) != 0 ||
      listen(listen_fd_, SOMAXCONN) != 0 || pipe2(stop_fds_, O_CLOEXEC) != 0) {
    return failed;
  }
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&bound), &size);
  // Both families keep the port in the same place.
  port_ = ntohs(reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
  return absl::OkStatus();
}

void MetricsEndpoint::Run() {
  while (true) {
    pollfd events[2] = {{.fd = listen_fd_, .events = POLLIN, .revents = 0},
                        {.fd = stop_fds_[0], .events = POLLIN, .revents = 0}};
    // Interrupted: look again.
    if (poll(events, 2, -1) < 0) continue;
    if (events[1].revents != 0) return;
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      // The peer has gone already, or there are no descriptors left: then not at once again.
      poll(&events[1], 1, 1000);
      continue;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kMaxWait, sizeof(kMaxWait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kMaxWait, sizeof(kMaxWait));
    WriteAll(fd, Answer(ReadRequest(fd)));
    close(fd);
  }
}

std::string MetricsEndpoint::Answer(const std::string& request) const {
  if (!absl::StrContains(request, "\r\n\r\n")) return Response("400 Bad Request", "");
  if (!absl::StartsWith(request, "GET ")) return Response("405 Method Not Allowed", "");
  if (!absl::StartsWith(request, "GET /metrics ") && !absl::StartsWith(request, "GET /metrics?")) {
    return Response("404 Not Found", "see /metrics\n");
  }
  return Response("200 OK", prometheus::TextSerializer().Serialize(metrics_.Collect()));
}

}  // namespace reenact
