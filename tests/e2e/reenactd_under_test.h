// The real server, with the demo bundle, for the end-to-end tests.
#pragma once

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/tool/server_process.h"
#include "tests/client/subprocess.h"
#include "tests/support/paths.h"

namespace reenact::testing {

inline std::string FromEnvironmentOr(const char* variable, const std::string& otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

// reenactd on a Unix socket, started once per test program, ended with it.
class ReenactdUnderTest {
 public:
  // Starts it and waits until it is ready, for two minutes at most.
  static absl::StatusOr<std::unique_ptr<ReenactdUnderTest>> Start(
      std::vector<std::string> more_arguments) {
    tool::ServerProcess::Options options;
    options.executable = FromEnvironmentOr("REENACTD", REENACTD_PROGRAM);
    options.bundle = FromEnvironmentOr("REENACT_BUNDLE", REENACT_SOURCE_DIR "/demo");
    options.arguments = {"--metrics-listen", "127.0.0.1:0"};
    const std::string face_models = REENACT_SOURCE_DIR "/.deps/mediapipe";
    if (std::getenv("REENACT_FACE_MODELS") == nullptr && std::filesystem::exists(face_models)) {
      options.arguments.insert(options.arguments.end(), {"--face-models", face_models});
    }
    options.arguments.insert(options.arguments.end(), more_arguments.begin(), more_arguments.end());
    options.stop_timeout = absl::Seconds(30);
    auto process = tool::ServerProcess::Start(options);
    if (!process.ok()) return process.status();
    std::unique_ptr<ReenactdUnderTest> server(new ReenactdUnderTest(std::move(*process)));
    ClientOptions client_options;
    client_options.wait_for_server = true;
    client_options.connect_timeout = absl::Seconds(60);
    client_options.call_timeout = absl::Seconds(30);
    auto client = Client::Connect(server->target(), client_options);
    if (!client.ok()) return server->Explain(client.status());
    server->client_ = std::move(*client);
    const absl::Time deadline = absl::Now() + absl::Minutes(2);
    while (absl::Now() < deadline && server->process_->Running()) {
      const auto health = server->client_->CheckHealth(kReadyService);
      if (health.ok() && *health == Health::kServing) return server;
      server->process_->EndsWithin(absl::Milliseconds(50));
    }
    return server->Explain(absl::UnavailableError("not ready"));
  }

  const std::string& target() const { return process_->target(); }
  Client& client() { return *client_; }
  bool Running() { return process_->Running(); }
  std::string Log() const { return process_->LogTail(40); }
  const std::string& how_it_ended() const { return process_->how_it_ended(); }
  void Stop() { process_->Stop(); }

  // Bytes of memory the process has in use.
  int64_t Memory() const {
    std::istringstream status(ReadFile(absl::StrCat("/proc/", process_->pid(), "/status")));
    std::string word;
    while (status >> word) {
      int64_t kib = 0;
      if (word == "VmRSS:" && status >> kib) return kib << 10;
    }
    return 0;
  }

  // The body of GET /metrics.
  std::string Metrics() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(metrics_port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string text;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      const std::string request =
          "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
      if (write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
        std::array<char, 65536> bytes;
        ssize_t size = 0;
        while ((size = read(fd, bytes.data(), bytes.size())) > 0) {
          text.append(bytes.data(), static_cast<size_t>(size));
        }
      }
    }
    close(fd);
    return text;
  }

  // The value of the metric without labels; -1: there is none.
  double Metric(const std::string& name) const {
    std::istringstream lines(Metrics());
    std::string line;
    while (std::getline(lines, line)) {
      double value = 0;
      if (line.starts_with(name + " ") &&
          absl::SimpleAtod(absl::string_view(line).substr(name.size() + 1), &value)) {
        return value;
      }
    }
    return -1;
  }

 private:
  explicit ReenactdUnderTest(std::unique_ptr<tool::ServerProcess> process)
      : process_(std::move(process)) {}

  absl::Status Explain(const absl::Status& status) {
    process_->Stop();
    return absl::Status(status.code(), absl::StrCat(status.message(), "\n", Log()));
  }

 public:
  // Finds the metrics port in the log. Call once it is ready.
  bool FindMetrics() {
    const std::string log = process_->LogTail(100);
    const size_t line = log.find("metrics listening");
    const size_t address = log.find("127.0.0.1:", line);
    if (line == std::string::npos || address == std::string::npos) return false;
    const std::string digits = log.substr(address + 10, 5);
    metrics_port_ = std::atoi(digits.c_str());
    return metrics_port_ > 0;
  }

 private:
  std::unique_ptr<tool::ServerProcess> process_;
  std::unique_ptr<Client> client_;
  int metrics_port_ = 0;
};

}  // namespace reenact::testing
