#include "server/reenact_service.h"

#include "server/convert.h"
#include "server/extract_stream.h"
#include "server/reenact_stream.h"
#include "server/resume_stream.h"
#include "server/status_details.h"
#include "server/tenant.h"

namespace reenact {
namespace {

absl::Status Loading() {
  return absl::UnavailableError("the model is still loading; try again later");
}

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext& context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

}  // namespace

grpc::ServerBidiReactor<v1::ReenactRequest, v1::ReenactResponse>* ReenactService::Reenact(
    grpc::CallbackServerContext* context) {
  return ReenactStream::Start(*context, Environment());
}

grpc::ServerBidiReactor<v1::ExtractMotionRequest, v1::ExtractMotionResponse>*
ReenactService::ExtractMotion(grpc::CallbackServerContext* context) {
  return ExtractStream::Start(*context, Environment());
}

grpc::ServerWriteReactor<v1::ReenactResponse>* ReenactService::ResumeJob(
    grpc::CallbackServerContext* context, const v1::ResumeJobRequest* request) {
  return ResumeStream::Start(*context, *request, Environment());
}

grpc::ServerUnaryReactor* ReenactService::CancelJob(grpc::CallbackServerContext* context,
                                                    const v1::CancelJobRequest* request,
                                                    v1::CancelJobResponse* response) {
  JobRunner* runner = runner_.load();
  if (runner == nullptr) return Finish(*context, Loading());
  const absl::StatusOr<std::string> tenant = TenantOf(*context);
  if (!tenant.ok()) return Finish(*context, tenant.status());
  const absl::StatusOr<v1::Job> job = runner->CancelJob(*tenant, *request);
  if (job.ok()) *response->mutable_job() = *job;
  return Finish(*context, job.status());
}

grpc::ServerUnaryReactor* ReenactService::GetJob(grpc::CallbackServerContext* context,
                                                 const v1::GetJobRequest* request,
                                                 v1::GetJobResponse* response) {
  JobRunner* runner = runner_.load();
  if (runner == nullptr) return Finish(*context, Loading());
  const absl::StatusOr<std::string> tenant = TenantOf(*context);
  if (!tenant.ok()) return Finish(*context, tenant.status());
  const absl::StatusOr<v1::Job> job = runner->GetJob(request->job_id(), *tenant);
  if (job.ok()) *response->mutable_job() = *job;
  return Finish(*context, job.status());
}

grpc::ServerUnaryReactor* ReenactService::ListModels(grpc::CallbackServerContext* context,
                                                     const v1::ListModelsRequest* /*request*/,
                                                     v1::ListModelsResponse* response) {
  JobRunner* runner = runner_.load();
  if (runner == nullptr) return Finish(*context, Loading());
  for (const ModelInfo& model : runner->models()) *response->add_models() = ToProto(model);
  response->set_max_message_bytes(max_message_bytes_);
  return Finish(*context, absl::OkStatus());
}

}  // namespace reenact
