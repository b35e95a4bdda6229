// A motion template on its way from the server: one ExtractMotion call.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/media_source.h"
#include "grpcpp/grpcpp.h"
#include "reenact/v1/reenact.grpc.pb.h"

namespace reenact {

struct ExtractOptions {
  // For the whole extraction.
  absl::Duration timeout = absl::InfiniteDuration();
  // Bytes of one driving_chunk.
  size_t chunk_bytes = 256 << 10;
};

// Thread-safe where a method says so; the others are for one thread.
class MotionStream {
 public:
  // Cancels what is not over, and waits for the call's end, but for a MediaSource that is just
  // being read.
  ~MotionStream();
  MotionStream(const MotionStream&) = delete;
  MotionStream& operator=(const MotionStream&) = delete;

  // The next bytes of the template; blocks until there are some. std::nullopt: the template is
  // complete and summary() is set. An error: the extraction has ended so (codes: reenact.proto).
  // Repeats its last result.
  absl::StatusOr<std::optional<std::string>> Next();

  // After std::nullopt.
  const v1::ExtractMotionSummary& summary() const { return *summary_; }

  // Thread-safe. Next() returns kCancelled soon. Never blocks.
  void Cancel();

 private:
  friend class Client;
  class Reactor;

  // `stub` outlives the client.
  MotionStream(std::shared_ptr<v1::ReenactService::Stub> stub, const std::string& tenant,
               v1::ExtractMotionConfig config, std::unique_ptr<MediaSource> driving,
               const ExtractOptions& options);

  // Sends all of `driving`; the feeder's thread.
  void Send(MediaSource& driving, size_t chunk_bytes) ABSL_LOCKS_EXCLUDED(mu_);

  const std::shared_ptr<v1::ReenactService::Stub> stub_;
  const std::unique_ptr<Reactor> reactor_;
  std::optional<v1::ExtractMotionSummary> summary_;
  std::optional<absl::Status> end_;

  Mutex mu_;
  // Why the source failed; tells more than the cancellation it causes.
  absl::Status source_error_ ABSL_GUARDED_BY(mu_);

  std::thread feeder_;
};

}  // namespace reenact
