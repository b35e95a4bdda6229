#include "server/reenact_stream.h"

#include <functional>
#include <utility>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/call_terms.h"
#include "server/convert.h"
#include "server/tenant.h"

namespace reenact {
namespace {

uint64_t HashOf(const v1::JobConfig& config) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    config.SerializeToCodedStream(&coded);
  }
  return std::hash<std::string>()(bytes);
}

}  // namespace

ReenactStream* ReenactStream::Start(grpc::CallbackServerContext& context,
                                    const CallEnvironment& environment) {
  const absl::StatusOr<std::string> tenant = TenantOf(context);
  const auto stream = std::shared_ptr<ReenactStream>(
      new ReenactStream(tenant.value_or(""), DeadlineOf(context), environment));
  stream->Begin(tenant.status());
  stream->HandOver();
  return stream.get();
}

bool ReenactStream::WantsRead() const {
  const std::shared_ptr<Job> current = job();
  return current == nullptr || ignores_input_ || current->wants_input();
}

void ReenactStream::TakeRead() {
  if (ignores_input_) return;
  v1::ReenactRequest& message = request_;
  const std::shared_ptr<Job> current = job();
  switch (message.payload_case()) {
    case v1::ReenactRequest::kConfig:
      if (current != nullptr) {
        Refuse(absl::InvalidArgumentError("config: may be sent only once, as the first message"));
      } else {
        TakeConfig(*message.mutable_config());
      }
      return;
    case v1::ReenactRequest::kDrivingChunk:
      if (current == nullptr) {
        Refuse(absl::InvalidArgumentError("driving_chunk: came before config"));
      } else if (message.driving_chunk().empty()) {
        Refuse(absl::InvalidArgumentError("driving_chunk has 0 bytes, must have 1 or more"));
      } else if (current->live()) {
        Refuse(absl::InvalidArgumentError(
            "driving_chunk: the config has live, must be driving_frame"));
      } else {
        runner_->PushInput(current, std::move(*message.mutable_driving_chunk()));
      }
      return;
    case v1::ReenactRequest::kDrivingFrame:
      if (current == nullptr) {
        Refuse(absl::InvalidArgumentError("driving_frame: came before config"));
      } else if (!current->live()) {
        Refuse(absl::InvalidArgumentError(
            "driving_frame: the config has no live, must be driving_chunk"));
      } else if (message.driving_frame().image().empty()) {
        Refuse(absl::InvalidArgumentError("driving_frame.image has 0 bytes, must have 1 or more"));
      } else {
        runner_->PushFrame(current,
                           {.image = std::move(*message.mutable_driving_frame()->mutable_image()),
                            .pts = message.driving_frame().pts(),
                            .arrived = clock_.TimeNow()});
      }
      return;
    case v1::ReenactRequest::kDrivingEnd:
      if (current == nullptr) {
        Refuse(absl::InvalidArgumentError("driving_end: came before config"));
      } else {
        runner_->CompleteInput(current);
      }
      return;
    case v1::ReenactRequest::PAYLOAD_NOT_SET:
      Refuse(absl::InvalidArgumentError(
          "payload: is not set, must be config (first), driving_chunk, driving_frame or "
          "driving_end"));
      return;
  }
}

void ReenactStream::TakeConfig(v1::JobConfig& config) {
  JobTerms terms = {.tenant = tenant_,
                    .priority = config.priority(),
                    .idempotency_key = config.idempotency_key()};
  if (!terms.idempotency_key.empty()) terms.config_hash = HashOf(config);
  absl::StatusOr<JobRequest> request = ToJobRequest(std::move(config), runner_->models());
  if (!request.ok()) return Refuse(request.status());
  absl::StatusOr<JobRunner::Begun> begun =
      runner_->Begin(*std::move(request), deadline_, WeakListener(), std::move(terms));
  if (!begun.ok()) return Refuse(begun.status());
  ignores_input_ = begun->was_there;
  Follow(begun->job);
}

void ReenactStream::EndOfInput() {
  if (const std::shared_ptr<Job> current = job(); current == nullptr) {
    Refuse(absl::InvalidArgumentError("config: the stream ended without it"));
  } else if (!ignores_input_) {
    runner_->FinishInput(current);
  }
}

void ReenactStream::Refuse(const absl::Status& status) {
  if (const std::shared_ptr<Job> current = job(); current == nullptr) {
    RefuseCall(status);
  } else if (current->IsFollowedBy(this)) {
    runner_->RequestEnd(current, status);
  }
}

}  // namespace reenact
