// The C++ client of ReenactService: starts jobs, follows them, asks about models and health.
//
//   auto client = reenact::Client::Connect("localhost:50051", {});
//   reenact::v1::JobConfig config;
//   config.mutable_source()->set_image(*reenact::ReadWholeFile("portrait.jpg", 32 << 20));
//   auto job = (*client)->Start(config, *reenact::OpenMediaFile("driving.mp4"), {});
//   while (true) {
//     auto answer = job->Next();                    // a status: the job has failed, and why
//     if (!answer.ok() || !answer->has_value()) break;  // no answer: the job has succeeded
//     if ((*answer)->has_video()) file << (*answer)->video().data();
//   }
//
// The driving media is the bytes of a container file, or, if the config has `live`, single pictures
// that are sent while the answers come (Start with a FrameSource, or JobStream::SendFrame). Needs
// the proto, gRPC and abseil only. Requests and answers are the proto's own messages: reenact.proto
// is their manual.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/frame_source.h"
#include "client/job_stream.h"
#include "client/media_source.h"
#include "client/motion_stream.h"
#include "grpcpp/grpcpp.h"
#include "reenact/v1/reenact.grpc.pb.h"

namespace reenact {

struct ClientOptions {
  // For Connect.
  absl::Duration connect_timeout = absl::Seconds(10);
  // Whether Connect keeps trying for the whole of connect_timeout (a server that is just starting),
  // or fails as soon as one attempt has failed.
  bool wait_for_server = false;
  // For every call but a job.
  absl::Duration call_timeout = absl::Seconds(10);
  // Largest answer taken. The default is far above a video piece or a frame of 4096 x 4096 raw
  // pixels.
  int max_response_bytes = 64 << 20;
  // Whose jobs these are, for a server that does not authenticate its clients. 1 to 64 printable
  // ASCII characters; empty: nobody's.
  std::string tenant;
  // Null: an unencrypted connection.
  std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr;
};

enum class Health {
  kServing,
  kNotServing,
  kUnknownService,  // the server knows no service of that name
};

// Name for CheckHealth: the server is ready to take jobs.
inline constexpr char kReadyService[] = "reenact.v1.ReenactService";

// Thread-safe. Jobs it has started may outlive it.
//
// Every call may also return kUnavailable (no connection) and kDeadlineExceeded (call_timeout).
class Client {
 public:
  // `target` as gRPC names it: "host:port", "dns:///host:port", "unix:/path/to/socket". Blocks
  // until the server has answered, for connect_timeout at most. kUnavailable: it cannot be reached
  // (says why).
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& target,
                                                         const ClientOptions& options);

  // Starts a job and sends `driving` on a thread of its own. Does not block. The job's errors,
  // those of the config and of `driving` included, come from JobStream::Next. A config without an
  // idempotency key gets a random one, so that the job can be resumed (JobOptions::resume_timeout).
  std::unique_ptr<JobStream> Start(v1::JobConfig config, std::unique_ptr<MediaSource> driving,
                                   const JobOptions& options);

  // The same for a live job; `config.live` is set.
  std::unique_ptr<JobStream> Start(v1::JobConfig config, std::unique_ptr<FrameSource> driving,
                                   const JobOptions& options);

  // Starts a job whose driving media the caller sends piece by piece (JobStream::Send, SendFrame).
  // Does not block.
  std::unique_ptr<JobStream> Start(v1::JobConfig config, const JobOptions& options);

  // Reads the motion of `driving` into a motion template, which a job takes in place of a driving
  // video. Sends `driving` on a thread of its own; does not block. Errors come from
  // MotionStream::Next.
  std::unique_ptr<MotionStream> ExtractMotion(v1::ExtractMotionConfig config,
                                              std::unique_ptr<MediaSource> driving,
                                              const ExtractOptions& options);

  // kNotFound: no such job.
  absl::StatusOr<v1::Job> GetJob(const std::string& job_id);

  // Asks a job to end; returns it as it is just afterwards. kNotFound: no such job.
  absl::StatusOr<v1::Job> CancelJob(const std::string& job_id);

  absl::StatusOr<v1::ListModelsResponse> ListModels();

  // "": the server is alive; kReadyService: it takes jobs. kUnimplemented: it has no health
  // service.
  absl::StatusOr<Health> CheckHealth(const std::string& service);

 private:
  Client(std::shared_ptr<grpc::Channel> channel, ClientOptions options);

  CallTerms Terms() const;

  // grpc.health.v1.Health/Check.
  absl::StatusOr<Health> Check(const std::string& service, absl::Time deadline,
                               bool wait_for_ready);

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::shared_ptr<v1::ReenactService::Stub> stub_;
};

}  // namespace reenact
