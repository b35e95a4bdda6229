// A connection that breaks when the test wants it to: forwards bytes between a TCP port of the
// loopback and a server.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace reenact::testing {

// Thread-safe.
class TcpProxy {
 public:
  // `target`: "127.0.0.1:PORT" or "unix:PATH". Null: no port to be had.
  static std::unique_ptr<TcpProxy> Start(const std::string& target);
  // Cuts what is left.
  ~TcpProxy();

  // "127.0.0.1:PORT", for the client.
  const std::string& address() const { return address_; }

  // Breaks all connections; what is on its way is lost.
  void Cut();
  // Cut() once that many more bytes have gone to the client, and again, `times` times in all.
  void CutEvery(int64_t num_bytes, int times);
  // Whether new connections are broken at once.
  void Refuse(bool refuse);
  int num_cuts() const;

 private:
  struct Flow {
    int from = -1;
    int to = -1;
    std::string bytes = {};  // read and not written yet
    bool ended = false;
  };
  struct Link {
    Flow up, down;
  };

  TcpProxy(std::string target, int listener, int wake_read, int wake_write, std::string address)
      : target_(std::move(target)),
        listener_(listener),
        wake_read_(wake_read),
        wake_write_(wake_write),
        address_(std::move(address)) {}

  void Run();
  void Accept();
  // Moves what can be moved. False: the connection has ended.
  bool Forward(Flow& flow, int16_t from_events, int16_t to_events);
  void CutAll();
  static void Break(Link& link);
  void Wake();

  const std::string target_;
  const int listener_;
  const int wake_read_;
  const int wake_write_;
  const std::string address_;

  mutable Mutex mu_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  bool cut_ ABSL_GUARDED_BY(mu_) = false;
  bool refuse_ ABSL_GUARDED_BY(mu_) = false;
  int64_t cut_every_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t bytes_left_ ABSL_GUARDED_BY(mu_) = 0;
  int cuts_left_ ABSL_GUARDED_BY(mu_) = 0;
  int num_cuts_ ABSL_GUARDED_BY(mu_) = 0;

  std::list<Link> links_;  // of the thread
  std::thread thread_;
};

}  // namespace reenact::testing
