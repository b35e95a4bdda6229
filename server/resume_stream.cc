#include "server/resume_stream.h"

#include <memory>
#include <utility>

#include "server/call_terms.h"
#include "server/tenant.h"

namespace reenact {

ResumeStream* ResumeStream::Start(grpc::CallbackServerContext& context,
                                  const v1::ResumeJobRequest& request,
                                  const CallEnvironment& environment) {
  const absl::StatusOr<std::string> tenant = TenantOf(context);
  const auto stream = std::shared_ptr<ResumeStream>(
      new ResumeStream(tenant.value_or(""), DeadlineOf(context), environment));
  if (stream->Begin(tenant.status())) {
    absl::StatusOr<std::shared_ptr<Job>> job =
        environment.runner->Resume(*tenant, request, stream->deadline_, stream->WeakListener());
    if (job.ok()) {
      stream->Follow(*job);
    } else {
      stream->RefuseCall(job.status());
    }
  }
  stream->HandOver();
  return stream.get();
}

}  // namespace reenact
