#include "tests/client/fake_service.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "grpc/grpc.h"
#include "reenact/internal/rpc_status.pb.h"

// The distribution's gRPC, protobuf and abseil are not built with -fsanitize=thread: what they do
// to order their threads is invisible, and every hand-over through them would be called a race.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }
extern "C" const char* __tsan_default_suppressions() {
  return "race:grpc::internal::\nrace:libgrpc\nrace:libprotobuf\nrace:libabsl\n";
}
#endif
#endif

namespace reenact::testing {
namespace {

using Stream = grpc::ServerReaderWriter<v1::ReenactResponse, v1::ReenactRequest>;

// "fail:5:text" -> status 5 with "text".
grpc::Status StatusIn(const std::string& model) {
  const std::vector<std::string> parts = absl::StrSplit(model, absl::MaxSplits(':', 2));
  int code = 2;
  if (parts.size() == 3 && absl::SimpleAtoi(parts[1], &code)) {
    return {static_cast<grpc::StatusCode>(code), parts[2]};
  }
  return {grpc::StatusCode::INTERNAL, "the test named a status that is none"};
}

grpc::Status QueueFull() {
  internal::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(2);
  info.mutable_retry_delay()->set_nanos(500'000'000);
  internal::RpcStatus details;
  details.set_code(grpc::StatusCode::RESOURCE_EXHAUSTED);
  auto* detail = details.add_details();
  detail->set_type_url("type.googleapis.com/google.rpc.RetryInfo");
  detail->set_value(info.SerializeAsString());
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", details.SerializeAsString()};
}

void SendVideo(Stream& stream, const std::string& data, bool init) {
  v1::ReenactResponse response;
  response.mutable_video()->set_data(data);
  response.mutable_video()->set_init_segment(init);
  stream.Write(response);
}

void SendProgress(Stream& stream, v1::Stage stage, int64_t step) {
  v1::ReenactResponse response;
  v1::Progress& progress = *response.mutable_progress();
  progress.set_stage(stage);
  progress.set_step(step);
  progress.set_total_steps(10);
  progress.set_frames_total(3);
  progress.mutable_estimated_time_left()->set_seconds(75);
  stream.Write(response);
}

v1::LiveStatus LiveStatusAfter(int64_t num_frames) {
  v1::LiveStatus status;
  status.set_frames_in(num_frames);
  status.set_frames_skipped(2);
  status.mutable_lag()->set_nanos(420'000'000);
  status.set_real_time_ratio(0.98);
  return status;
}

void SendLiveProgress(Stream& stream, int64_t num_frames) {
  v1::ReenactResponse response;
  v1::Progress& progress = *response.mutable_progress();
  progress.set_stage(v1::STAGE_DENOISING);
  progress.set_step(num_frames);
  progress.set_total_steps(2 * num_frames);
  progress.set_frames_done(num_frames);
  progress.set_frames_total(num_frames);
  *progress.mutable_live() = LiveStatusAfter(num_frames);
  stream.Write(response);
}

}  // namespace

void FakeService::WaitForEnd(grpc::ServerContext& context) {
  MutexLock lock(&mu_);
  // The synchronous server has no other way to hear of a cancellation; bounded by ten minutes.
  for (int i = 0; i < 60'000 && !context.IsCancelled(); ++i) {
    const auto never = [] { return false; };
    mu_.AwaitWithTimeout(absl::Condition(&never), absl::Milliseconds(10));
  }
  if (context.IsCancelled()) ++num_cancelled_;
}

grpc::Status FakeService::Reenact(grpc::ServerContext* context, Stream* stream) {
  v1::ReenactRequest request;
  if (!stream->Read(&request) || !request.has_config()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must be config"};
  }
  const v1::JobConfig config = request.config();
  {
    MutexLock lock(&mu_);
    config_ = config;
    const auto& metadata = context->client_metadata();
    const auto tenant = metadata.find("reenact-tenant");
    tenant_ =
        tenant == metadata.end() ? "" : std::string(tenant->second.data(), tenant->second.size());
  }
  const std::string& model = config.model();
  if (absl::StartsWith(model, "reject:")) return StatusIn(model);
  if (model == "full") return QueueFull();
  if (model == "die") _exit(9);

  v1::ReenactResponse accepted;
  accepted.mutable_accepted()->set_job_id(kFakeJobId);
  accepted.mutable_accepted()->set_model(model);
  stream->Write(accepted);

  if (absl::StartsWith(model, "flood:")) {
    int count = 0;
    if (!absl::SimpleAtoi(model.substr(6), &count)) count = 0;
    for (int i = 0; i < count; ++i) SendProgress(*stream, v1::STAGE_DENOISING, i);
    WaitForEnd(*context);
    return grpc::Status::CANCELLED;
  }
  if (model == "hang") {
    SendVideo(*stream, "half", true);
    SendProgress(*stream, v1::STAGE_DENOISING, 1);
    WaitForEnd(*context);
    return grpc::Status::CANCELLED;
  }
  if (absl::StartsWith(model, "fail:")) {
    SendVideo(*stream, "half", true);
    return StatusIn(model);
  }
  if (model == "no-summary") return grpc::Status::OK;

  SendProgress(*stream, v1::STAGE_RECEIVING, 0);
  bool first = true;
  int64_t bytes = 0, num_frames = 0;
  while (stream->Read(&request)) {
    if (request.has_driving_end()) continue;
    const bool live = request.has_driving_frame();
    const std::string& media = live ? request.driving_frame().image() : request.driving_chunk();
    {
      MutexLock lock(&mu_);
      if (live) {
        pts_.push_back(request.driving_frame().pts());
      } else {
        chunk_sizes_.push_back(media.size());
      }
    }
    if (live) ++num_frames;
    bytes += static_cast<int64_t>(media.size());
    if (model != "frames") SendVideo(*stream, media, std::exchange(first, false));
    if (live) SendLiveProgress(*stream, num_frames);
  }
  if (context->IsCancelled()) {
    MutexLock lock(&mu_);
    ++num_cancelled_;
    return grpc::Status::CANCELLED;
  }
  SendProgress(*stream, v1::STAGE_RENDERING, 10);
  if (config.output().poster() && model != "no-poster") {
    v1::ReenactResponse response;
    response.mutable_poster()->set_jpeg("a poster");
    stream->Write(response);
  }
  if (model == "frames") {
    for (int i = 0; i < 3; ++i) {
      v1::ReenactResponse response;
      v1::Frame& frame = *response.mutable_frame();
      frame.set_index(i);
      frame.set_data(absl::StrCat("frame ", i));
      frame.set_format(config.output().format());
      frame.set_pts(1001 * i);
      frame.mutable_time_base()->set_numerator(1);
      frame.mutable_time_base()->set_denominator(30000);
      stream->Write(response);
    }
  }
  v1::ReenactResponse last;
  v1::Summary& summary = *last.mutable_summary();
  summary.set_job_id(kFakeJobId);
  summary.set_model("echo");
  summary.set_seed(config.seed());
  summary.set_frames_in(3);
  summary.set_frames_out(3);
  summary.set_bytes_out(bytes);
  summary.set_rows(2);
  summary.set_padding_slots(6);
  if (config.has_live()) *summary.mutable_live() = LiveStatusAfter(num_frames);
  for (int i = 0; i < config.further_faces_size(); ++i) {
    v1::FrameFaces& faces = *summary.add_further_frame_faces();
    faces.add_origin(v1::FrameFaces::ORIGIN_FOUND);
    faces.add_origin(v1::FrameFaces::ORIGIN_HELD);
  }
  summary.add_notes("sound left out");
  for (int i = 0; i < 7; ++i) {
    v1::FrameNote& note = *summary.add_frame_notes();
    note.set_frame(i);
    note.set_note("no face found, landmarks interpolated");
  }
  stream->Write(last);
  return grpc::Status::OK;
}

grpc::Status FakeService::ExtractMotion(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::ExtractMotionResponse, v1::ExtractMotionRequest>* stream) {
  v1::ExtractMotionRequest request;
  if (!stream->Read(&request) || !request.has_config()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must be config"};
  }
  const v1::ExtractMotionConfig config = request.config();
  {
    MutexLock lock(&mu_);
    motion_config_ = config;
    const auto tenant = context->client_metadata().find("reenact-tenant");
    tenant_ = tenant == context->client_metadata().end()
                  ? ""
                  : std::string(tenant->second.data(), tenant->second.size());
  }
  v1::ExtractMotionResponse response;
  int64_t num_bytes = 0;
  while (stream->Read(&request)) {
    num_bytes += static_cast<int64_t>(request.driving_chunk().size());
    {
      MutexLock lock(&mu_);
      chunk_sizes_.push_back(request.driving_chunk().size());
    }
    response.set_template_chunk(request.driving_chunk());
    stream->Write(response);
    if (config.driver_face().index() == 1) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "driving video: no face found"};
    }
    if (config.driver_face().index() == 2) {
      WaitForEnd(*context);
      return grpc::Status::CANCELLED;
    }
  }
  if (config.driver_face().index() == 3) return grpc::Status::OK;
  v1::ExtractMotionSummary& summary = *response.mutable_summary();
  summary.set_frames(25);
  summary.set_frames_with_face(24);
  summary.set_bytes_out(num_bytes);
  summary.set_audio_copied(true);
  summary.add_notes("a note");
  stream->Write(response);
  return grpc::Status::OK;
}

v1::ExtractMotionConfig FakeService::motion_config() const {
  MutexLock lock(&mu_);
  return motion_config_;
}

grpc::Status FakeService::CancelJob(grpc::ServerContext*, const v1::CancelJobRequest* request,
                                    v1::CancelJobResponse* response) {
  if (request->job_id() != kFakeJobId) return {grpc::StatusCode::NOT_FOUND, "no such job"};
  response->mutable_job()->set_job_id(kFakeJobId);
  response->mutable_job()->set_state(v1::JOB_STATE_CANCELLED);
  return grpc::Status::OK;
}

grpc::Status FakeService::GetJob(grpc::ServerContext*, const v1::GetJobRequest* request,
                                 v1::GetJobResponse* response) {
  if (request->job_id() != kFakeJobId) return {grpc::StatusCode::NOT_FOUND, "no such job"};
  response->mutable_job()->set_job_id(kFakeJobId);
  response->mutable_job()->set_state(v1::JOB_STATE_RUNNING);
  return grpc::Status::OK;
}

grpc::Status FakeService::ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                                     v1::ListModelsResponse* response) {
  v1::ModelInfo& model = *response->add_models();
  model.set_name("echo");
  model.set_image_size(64);
  model.set_frames_per_row(5);
  model.add_samplers(v1::SAMPLER_DDIM);
  model.set_default_sampler(v1::SAMPLER_DDIM);
  model.set_licence("Apache-2.0");
  return grpc::Status::OK;
}

v1::JobConfig FakeService::config() const {
  MutexLock lock(&mu_);
  return config_;
}

std::string FakeService::tenant() const {
  MutexLock lock(&mu_);
  return tenant_;
}

std::vector<size_t> FakeService::chunk_sizes() const {
  MutexLock lock(&mu_);
  return chunk_sizes_;
}

std::vector<int64_t> FakeService::pts() const {
  MutexLock lock(&mu_);
  return pts_;
}

bool FakeService::WaitForCancelled(int count) const {
  MutexLock lock(&mu_);
  const auto enough = [this, count]()
                          ABSL_SHARED_LOCKS_REQUIRED(mu_) { return num_cancelled_ >= count; };
  return mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
}

std::unique_ptr<grpc::Server> StartFakeServer(FakeService& service, const std::string& address) {
  // Keeps gRPC alive between tests: its shutdown with the last server may wait 10 s for an own
  // thread.
  static const bool kept = [] {
    grpc_init();
    return true;
  }();
  (void)kept;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr) {
    server->GetHealthCheckService()->SetServingStatus("reenact.v1.ReenactService", true);
  }
  return server;
}

}  // namespace reenact::testing
