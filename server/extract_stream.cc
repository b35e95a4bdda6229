#include "server/extract_stream.h"

#include <optional>
#include <string>
#include <utility>

#include "server/call_terms.h"
#include "server/convert.h"
#include "server/tenant.h"

namespace reenact {

ExtractStream* ExtractStream::Start(grpc::CallbackServerContext& context,
                                    const CallEnvironment& environment) {
  const absl::StatusOr<std::string> tenant = TenantOf(context);
  const auto stream = std::shared_ptr<ExtractStream>(
      new ExtractStream(tenant.value_or(""), DeadlineOf(context), environment));
  stream->Begin(tenant.status());
  stream->HandOver();
  return stream.get();
}

ExtractStream::Extraction ExtractStream::extraction() const {
  MutexLock lock(&extraction_mu_);
  return extraction_;
}

bool ExtractStream::WantsRead() const {
  const Extraction current = extraction();
  return current == nullptr || extractions().WantsInput(current);
}

void ExtractStream::TakeRead() {
  v1::ExtractMotionRequest& message = request_;
  const Extraction current = extraction();
  switch (message.payload_case()) {
    case v1::ExtractMotionRequest::kConfig:
      if (current != nullptr) {
        Refuse(absl::InvalidArgumentError("config: may be sent only once, as the first message"));
      } else {
        TakeConfig(std::move(*message.mutable_config()));
      }
      return;
    case v1::ExtractMotionRequest::kDrivingChunk:
      if (current == nullptr) {
        Refuse(absl::InvalidArgumentError("driving_chunk: came before config"));
      } else if (message.driving_chunk().empty()) {
        Refuse(absl::InvalidArgumentError("driving_chunk has 0 bytes, must have 1 or more"));
      } else {
        extractions().PushInput(current, std::move(*message.mutable_driving_chunk()));
      }
      return;
    case v1::ExtractMotionRequest::PAYLOAD_NOT_SET:
      Refuse(absl::InvalidArgumentError(
          "payload: is not set, must be config (first) or driving_chunk"));
      return;
  }
}

void ExtractStream::EndOfInput() {
  if (const Extraction current = extraction(); current != nullptr) {
    extractions().FinishInput(current);
  } else {
    RefuseCall(absl::InvalidArgumentError("config: the stream ended without it"));
  }
}

void ExtractStream::TakeConfig(v1::ExtractMotionConfig config) {
  absl::StatusOr<MotionRequest> request = ToMotionRequest(std::move(config));
  if (!request.ok()) return RefuseCall(request.status());
  absl::StatusOr<Extraction> admitted =
      extractions().Admit(*std::move(request), tenant_, deadline_,
                          std::static_pointer_cast<ExtractStream>(shared_from_this()));
  if (!admitted.ok()) return RefuseCall(admitted.status());
  {
    MutexLock lock(&extraction_mu_);
    extraction_ = *admitted;
  }
  // OnLost() may have come before there was an extraction to end. It ends only once.
  if (const std::optional<absl::Status> gone = refusal(); gone.has_value()) {
    extractions().End(*admitted, *gone);
  }
}

void ExtractStream::Refuse(const absl::Status& status) {
  if (const Extraction current = extraction(); current != nullptr) {
    extractions().End(current, status);
  } else {
    RefuseCall(status);
  }
}

void ExtractStream::OnLost(const absl::Status& reason) {
  if (const Extraction current = extraction(); current != nullptr) {
    extractions().End(current, reason);
  }
}

CallStream::Turn ExtractStream::NextTurn() {
  const Extraction current = extraction();
  if (current == nullptr) return {};
  ExtractionRunner::Answer answer = extractions().NextAnswer(current);
  switch (answer.next) {
    case ExtractionRunner::Next::kNothing:
      return {};
    case ExtractionRunner::Next::kAnswer:
      response_ = std::move(answer.response);
      return {.next = Turn::Next::kWrite, .status = absl::OkStatus()};
    case ExtractionRunner::Next::kEnded:
      return {.next = Turn::Next::kEnd, .status = std::move(answer.status)};
  }
  return {};
}

}  // namespace reenact
