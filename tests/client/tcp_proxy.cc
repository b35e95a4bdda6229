#include "tests/client/tcp_proxy.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace reenact::testing {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A connected socket; -1: nobody listens there.
int Dial(const std::string& target) {
  int fd = -1, result = -1;
  if (absl::StartsWith(target, "unix:")) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, target.c_str() + 5, sizeof(address.sun_path) - 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } else {
    int port = 0;
    if (!absl::SimpleAtoi(target.substr(target.rfind(':') + 1), &port)) return -1;
    const sockaddr_in address = Loopback(port);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  if (result == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

std::unique_ptr<TcpProxy> TcpProxy::Start(const std::string& target) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  std::array<int, 2> wake = {-1, -1};
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      listen(listener, 64) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      pipe2(wake.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    close(listener);
    return nullptr;
  }
  std::unique_ptr<TcpProxy> proxy(new TcpProxy(
      target, listener, wake[0], wake[1], absl::StrCat("127.0.0.1:", ntohs(address.sin_port))));
  proxy->thread_ = std::thread([raw = proxy.get()] { raw->Run(); });
  return proxy;
}

TcpProxy::~TcpProxy() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  Wake();
  thread_.join();
  CutAll();
  for (const int fd : {listener_, wake_read_, wake_write_}) close(fd);
}

void TcpProxy::Wake() {
  // A full pipe wakes as well.
  const ssize_t written = write(wake_write_, "x", 1);
  (void)written;
}

void TcpProxy::Cut() {
  {
    MutexLock lock(&mu_);
    cut_ = true;
  }
  Wake();
  // Afterwards nothing passes any more.
  MutexLock lock(&mu_);
  const auto done = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !cut_; };
  mu_.Await(absl::Condition(&done));
}

void TcpProxy::CutEvery(int64_t num_bytes, int times) {
  MutexLock lock(&mu_);
  cut_every_ = bytes_left_ = num_bytes;
  cuts_left_ = times;
}

void TcpProxy::Refuse(bool refuse) {
  MutexLock lock(&mu_);
  refuse_ = refuse;
}

int TcpProxy::num_cuts() const {
  MutexLock lock(&mu_);
  return num_cuts_;
}

void TcpProxy::Run() {
  while (true) {
    std::vector<pollfd> polled = {{wake_read_, POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Link& link : links_) {
      for (const Flow* flow : {&link.up, &link.down}) {
        const bool reads = flow->bytes.empty() && !flow->ended;
        polled.push_back({flow->from, static_cast<int16_t>(reads ? POLLIN : 0), 0});
        polled.push_back({flow->to, static_cast<int16_t>(flow->bytes.empty() ? 0 : POLLOUT), 0});
      }
    }
    poll(polled.data(), polled.size(), -1);
    bool cut = false;
    {
      MutexLock lock(&mu_);
      if (stop_) return;
      cut = cut_;
    }
    std::array<char, 256> ignored;
    while (read(wake_read_, ignored.data(), ignored.size()) > 0) {
    }
    if (cut) {
      CutAll();
      MutexLock lock(&mu_);
      cut_ = false;
      continue;
    }
    size_t i = 2;
    for (auto link = links_.begin(); link != links_.end();) {
      const bool up = Forward(link->up, polled[i].revents, polled[i + 1].revents);
      const bool down = Forward(link->down, polled[i + 2].revents, polled[i + 3].revents);
      i += 4;
      if (up && down) {
        ++link;
        continue;
      }
      Break(*link);
      link = links_.erase(link);
    }
    {
      MutexLock lock(&mu_);
      cut = cuts_left_ > 0 && bytes_left_ <= 0;
      if (cut) {
        --cuts_left_;
        bytes_left_ = cut_every_;
      }
    }
    if (cut) CutAll();
    if (polled[1].revents != 0) Accept();
  }
}

void TcpProxy::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  bool refuse = false;
  {
    MutexLock lock(&mu_);
    refuse = refuse_;
  }
  const int server = refuse ? -1 : Dial(target_);
  if (server < 0) {
    close(client);
    return;
  }
  for (const int fd : {client, server}) fcntl(fd, F_SETFL, O_NONBLOCK);
  links_.push_back({.up = {.from = client, .to = server}, .down = {.from = server, .to = client}});
}

bool TcpProxy::Forward(Flow& flow, int16_t from_events, int16_t to_events) {
  if (flow.bytes.empty() && !flow.ended && from_events != 0) {
    std::array<char, 65536> bytes;
    const ssize_t size = read(flow.from, bytes.data(), bytes.size());
    if (size > 0) flow.bytes.assign(bytes.data(), static_cast<size_t>(size));
    if (size == 0) return false;
    if (size < 0 && errno != EAGAIN) return false;
    to_events = POLLOUT;
  }
  if (flow.bytes.empty() || to_events == 0) return true;
  const ssize_t size = send(flow.to, flow.bytes.data(), flow.bytes.size(), MSG_NOSIGNAL);
  if (size < 0) return errno == EAGAIN;
  flow.bytes.erase(0, static_cast<size_t>(size));
  MutexLock lock(&mu_);
  for (const Link& link : links_) {
    if (&link.down == &flow) bytes_left_ -= size;
  }
  return true;
}

void TcpProxy::CutAll() {
  for (Link& link : links_) Break(link);
  MutexLock lock(&mu_);
  if (!links_.empty()) ++num_cuts_;
  links_.clear();
}

void TcpProxy::Break(Link& link) {
  for (const int fd : {link.up.from, link.up.to}) {
    // A reset, not an orderly end.
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
  }
}

}  // namespace reenact::testing
