// A ReenactService for the client's tests. What it does with a job is said by the job's model name:
//
//   "" or "echo"      sends every driving chunk or frame back as a video piece, then a summary
//   "frames"          sends three frames (PNG or JPEG as asked; the content is "frame N"), then a
//   summary "flood:N"         reads the config only; sends N progress answers, then waits for the
//   end of the call "hang"            accepts, sends one video piece, then waits for the end of the
//   call "no-summary"      accepts and ends with OK "fail:CODE:TEXT"  accepts, sends one video
//   piece, then ends with that status "reject:CODE:TEXT"  ends with that status at once, without
//   reading on "full"            RESOURCE_EXHAUSTED with a RetryInfo of 2.5 s "die" ends the
//   process
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "reenact/v1/reenact.grpc.pb.h"

namespace reenact::testing {

inline constexpr char kFakeJobId[] = "0123456789abcdef0123456789abcdef";

class FakeService final : public v1::ReenactService::Service {
 public:
  grpc::Status Reenact(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::ReenactResponse, v1::ReenactRequest>* stream) override;
  // Sends every driving chunk back as a piece of the template, then a summary. Its driver_face
  // tells of another wish: index 1 fails with INVALID_ARGUMENT after a first piece, 2 sends one and
  // waits for the end of the call, 3 ends without a summary.
  grpc::Status ExtractMotion(grpc::ServerContext* context,
                             grpc::ServerReaderWriter<v1::ExtractMotionResponse,
                                                      v1::ExtractMotionRequest>* stream) override;
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::CancelJobResponse* response) override;
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::GetJobResponse* response) override;
  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;

  // The config of the last job.
  v1::JobConfig config() const ABSL_LOCKS_EXCLUDED(mu_);
  // The config of the last extraction.
  v1::ExtractMotionConfig motion_config() const ABSL_LOCKS_EXCLUDED(mu_);
  // The tenant its call named; empty if none.
  std::string tenant() const ABSL_LOCKS_EXCLUDED(mu_);
  // Sizes of the driving chunks of all jobs so far.
  std::vector<size_t> chunk_sizes() const ABSL_LOCKS_EXCLUDED(mu_);
  // Time stamps of the driving frames of all jobs so far.
  std::vector<int64_t> pts() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until `count` jobs were cancelled, for half a minute at most. Returns whether so many
  // were.
  bool WaitForCancelled(int count) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void WaitForEnd(grpc::ServerContext& context) ABSL_LOCKS_EXCLUDED(mu_);

  mutable Mutex mu_;
  v1::JobConfig config_ ABSL_GUARDED_BY(mu_);
  v1::ExtractMotionConfig motion_config_ ABSL_GUARDED_BY(mu_);
  std::string tenant_ ABSL_GUARDED_BY(mu_);
  std::vector<size_t> chunk_sizes_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> pts_ ABSL_GUARDED_BY(mu_);
  int num_cancelled_ ABSL_GUARDED_BY(mu_) = 0;
};

// A server with the service, health (alive and ready) on `address`.
std::unique_ptr<grpc::Server> StartFakeServer(FakeService& service, const std::string& address);

}  // namespace reenact::testing
