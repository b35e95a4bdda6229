// One job: driving bytes, or the frames of a live job, go in, answers come out, both at once.
//
// Bounded: one outgoing chunk and one unread answer are held. A caller who does not call Next()
// makes the server pause this job; a server that does not keep up makes Send() block.
//
// Resuming: when the connection is lost after the server had all of the driving media, Next()
// connects again and goes on where it was: the caller sees every answer once, in order. Lost
// earlier, or for too long, or to a server that does not know the job any more, the job has failed
// with kUnavailable, and may be started again.
//
// Threads: one thread may send (Send, SendFrame, FinishSending) while another reads (Next). Cancel
// is thread-safe. A server may stop taking media until its answers are read, so one thread that
// only sends can wait for ever: give Client::Start a MediaSource or a FrameSource (it then sends on
// a thread of its own), or use two threads.
#pragma once

#include <functional>
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
#include "client/frame_source.h"
#include "client/media_source.h"
#include "reenact/v1/reenact.grpc.pb.h"

namespace reenact {

struct JobOptions {
  // The job ends with kDeadlineExceeded if it is not over by then, counted from Start.
  absl::Duration timeout = absl::InfiniteDuration();
  // Bytes of one driving chunk. 1 to the server's max_message_bytes less 64.
  size_t chunk_bytes = size_t{256} << 10;

  // How long, and how often, a lost connection is tried again before the job has failed; both
  // counted from the last answer that came. Zero of either: never, and the job ends when its
  // connection does. The server has its own limit.
  absl::Duration resume_timeout = absl::Seconds(30);
  int max_resume_attempts = 100;
  // From one attempt to the next; doubles with each, up to 2 s. The first comes at once.
  absl::Duration resume_backoff = absl::Milliseconds(100);
  // Called in Next(), with no lock held: the connection is lost (with `why`) and will be tried
  // again; the job goes on. May be null.
  std::function<void(const absl::Status& why)> on_connection_lost = nullptr;
  std::function<void()> on_resumed = nullptr;
};

class AnswerReader;
struct CallTerms;

class JobStream {
 public:
  // Ends the job (as Cancel does) if it is not over, and waits until gRPC has let go of it: not for
  // the server (a second at most, so that it hears of it), but for a MediaSource that is just being
  // read. A FrameSource is told to stop.
  ~JobStream();
  JobStream(const JobStream&) = delete;
  JobStream& operator=(const JobStream&) = delete;

  // Sends the next bytes of the driving media, cut into chunks. Blocks until they have been handed
  // to the transport. False: the call is over and Next() says why. Not for jobs started with a
  // MediaSource.
  [[nodiscard]] bool Send(std::string_view bytes);

  // Sends the next frame of a live job. Blocks until it has been handed to the transport: while the
  // server does not take frames, so a camera's frames pile up with whoever makes them. False: as
  // Send. Not for jobs started with a FrameSource.
  [[nodiscard]] bool SendFrame(DrivingFrame frame);

  // Tells the FrameSource to stop: the job goes on with the frames that were sent. Thread-safe. Not
  // for other jobs.
  void StopSource() { frames_->Stop(); }

  // Says that all driving media has been sent. Call once. False: as Send.
  [[nodiscard]] bool FinishSending();

  // The next answer; blocks until there is one. std::nullopt: the job has succeeded and all answers
  // have been read. An error: the job has ended so (codes: reenact.proto; kUnavailable also when
  // the connection was lost for good; RetryDelay() tells when to try again, if the server said so).
  // Repeats its last result.
  absl::StatusOr<std::optional<v1::ReenactResponse>> Next();

  // Ends the job: it stops within one denoising step and Next() returns kCancelled soon. No effect
  // on a job that is over. Never blocks.
  void Cancel();

 private:
  friend class Client;
  class Reactor;
  class Resumption;
  // A CancelJob call, which may outlive the JobStream.
  struct Cancellation;

  // `stub` outlives the client. An empty `key`: the job cannot be resumed.
  JobStream(std::shared_ptr<v1::ReenactService::Stub> stub, std::unique_ptr<Reactor> reactor,
            std::string key, const CallTerms& terms, JobOptions options);

  // Starts the thread that sends `source`.
  void Feed(std::unique_ptr<MediaSource> source);
  void Feed(std::unique_ptr<FrameSource> source);
  // The source has failed.
  void EndWith(absl::Status problem) ABSL_LOCKS_EXCLUDED(mu_);

  // Connects again. Returns what Next() is to return.
  absl::StatusOr<std::optional<v1::ReenactResponse>> Resume(const absl::Status& lost);
  // Waits. False: the job was cancelled meanwhile.
  bool Pause(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mu_);
  bool MayResume(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  AnswerReader& reader() ABSL_LOCKS_EXCLUDED(mu_);

  const std::shared_ptr<v1::ReenactService::Stub> stub_;
  const std::string key_;
  const std::unique_ptr<const CallTerms> terms_;
  const JobOptions options_;
  const std::unique_ptr<Reactor> reactor_;

  // Of the reading thread.
  std::string job_id_;  // empty: not accepted yet
  uint64_t next_sequence_number_ = 0;
  // How the job has ended, if it has.
  std::optional<absl::Status> end_;

  Mutex mu_;
  // The call that reads now, if it is not reactor_.
  std::unique_ptr<Resumption> resumption_ ABSL_GUARDED_BY(mu_);
  bool media_complete_ ABSL_GUARDED_BY(mu_) = false;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<Cancellation> cancellation_ ABSL_GUARDED_BY(mu_);
  // Why the source failed; tells more than the cancellation it causes.
  absl::Status source_error_ ABSL_GUARDED_BY(mu_);

  std::unique_ptr<FrameSource> frames_;  // read by the feeder
  std::thread feeder_;
};

// How long the server asks to wait before the next attempt; std::nullopt if it did not say.
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

}  // namespace reenact
