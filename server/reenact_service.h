// reenact.v1.ReenactService on gRPC's callback API: translates, and leaves the work to JobRunner.
#pragma once

#include <atomic>

#include "reenact/v1/reenact.grpc.pb.h"
#include "server/answer_stream.h"
#include "server/clock.h"
#include "server/job_runner.h"
#include "server/metrics.h"

namespace reenact {

// Thread-safe.
class ReenactService final : public v1::ReenactService::CallbackService {
 public:
  // The references must outlive the service.
  ReenactService(int64_t max_message_bytes, Clock& clock, Metrics& metrics)
      : max_message_bytes_(max_message_bytes), clock_(clock), metrics_(metrics) {}

  // Until this is called, calls get UNAVAILABLE. `runner` must outlive every call.
  void SetRunner(JobRunner* runner) { runner_.store(runner); }

  grpc::ServerBidiReactor<v1::ReenactRequest, v1::ReenactResponse>* Reenact(
      grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<v1::ExtractMotionRequest, v1::ExtractMotionResponse>* ExtractMotion(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::ReenactResponse>* ResumeJob(
      grpc::CallbackServerContext* context, const v1::ResumeJobRequest* request) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::CancelJobResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request,
                                   v1::GetJobResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  CallEnvironment Environment() {
    return {.runner = runner_.load(), .clock = &clock_, .metrics = &metrics_};
  }

  const int64_t max_message_bytes_;
  Clock& clock_;
  Metrics& metrics_;
  std::atomic<JobRunner*> runner_{nullptr};
};

}  // namespace reenact
