// One Reenact call: driving bytes go in, answers come out, both at once.
//
// Bounded: one outgoing chunk and one unread answer are held. A caller who does not call Next()
// makes the server pause this job; a server that does not keep up makes Send() block.
//
// Threads: one thread may send (Send, FinishSending) while another reads (Next). Cancel is
// thread-safe. A server may stop taking bytes until its answers are read, so one thread that only
// sends can wait for ever: give Client::Start a MediaSource (it then sends on a thread of its own),
// or use two threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/media_source.h"
#include "reenact/v1/reenact.grpc.pb.h"

namespace reenact {

struct JobOptions {
  // The job ends with kDeadlineExceeded if it is not over by then, counted from Start.
  absl::Duration timeout = absl::InfiniteDuration();
  // Bytes of one driving chunk. 1 to the server's max_message_bytes less 64.
  size_t chunk_bytes = size_t{256} << 10;
};

class JobStream {
 public:
  // Ends the call (as Cancel does) if it is not over, and waits until gRPC has let go of it: not
  // for the server, but for a MediaSource that is just being read.
  ~JobStream();
  JobStream(const JobStream&) = delete;
  JobStream& operator=(const JobStream&) = delete;

  // Sends the next bytes of the driving media, cut into chunks. Blocks until they have been handed
  // to the transport. False: the call is over and Next() says why. Not for jobs started with a
  // MediaSource.
  [[nodiscard]] bool Send(std::string_view bytes);

  // Says that all driving media has been sent. Call once. False: as Send.
  [[nodiscard]] bool FinishSending();

  // The next answer; blocks until there is one. std::nullopt: the job has succeeded and all answers
  // have been read. An error: the job has ended so (codes: reenact.proto; kUnavailable also when
  // the connection was lost; RetryDelay() tells when to try again, if the server said so). Repeats
  // its last result.
  absl::StatusOr<std::optional<v1::ReenactResponse>> Next();

  // Ends the job: it stops within one denoising step and Next() returns kCancelled soon. No effect
  // on a job that is over. Never blocks.
  void Cancel();

 private:
  friend class Client;
  class Reactor;

  JobStream(std::unique_ptr<Reactor> reactor, size_t chunk_bytes);

  // Starts the thread that sends `source`.
  void Feed(std::unique_ptr<MediaSource> source);

  const size_t chunk_bytes_;
  const std::unique_ptr<Reactor> reactor_;

  Mutex mu_;
  // Why the MediaSource failed; tells more than the cancellation it causes.
  absl::Status source_error_ ABSL_GUARDED_BY(mu_);

  std::thread feeder_;
};

// How long the server asks to wait before the next attempt; std::nullopt if it did not say.
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

}  // namespace reenact
