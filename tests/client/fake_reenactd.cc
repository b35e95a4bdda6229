// Stands in for reenactd in the tests of the command-line tool. Takes reenactd's flags and serves
// FakeService. Its behaviour is set by environment variables:
//   FAKE_REENACTD_START  "fail": says why and ends with 1; "hang": never listens
//   FAKE_REENACTD_PID    a file to write the process id into
//   FAKE_REENACTD_DEAF   not empty: SIGTERM is ignored
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "tests/client/fake_service.h"

namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

int main(int argc, char** argv) {
  std::string address;
  bool have_bundle = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--listen") address = argv[i + 1];
    if (flag == "--bundle") have_bundle = true;
  }
  if (address.empty() || !have_bundle) return 2;
  if (const std::string file = Variable("FAKE_REENACTD_PID"); !file.empty()) {
    std::ofstream(file) << getpid();
  }
  if (Variable("FAKE_REENACTD_START") == "fail") {
    std::fprintf(stderr, "{\"level\":\"error\",\"message\":\"the bundle has a wrong hash\"}\n");
    return 1;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  int received = 0;
  if (Variable("FAKE_REENACTD_START") == "hang") return sigwait(&signals, &received);

  reenact::testing::FakeService service;
  const auto server = reenact::testing::StartFakeServer(service, address);
  if (server == nullptr) return 1;
  while (true) {
    sigwait(&signals, &received);
    if (Variable("FAKE_REENACTD_DEAF").empty()) _exit(0);
  }
}
