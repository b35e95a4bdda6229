// Layer 4: the whole server over real gRPC on a loopback port or a Unix socket, with a fake engine.
#include "server/server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "reenact/internal/rpc_status.pb.h"
#include "tests/server/test_client.h"

namespace reenact {
namespace {

using testing::FakeEngine;
using testing::FakeModel;
using testing::Gate;
using testing::GrpcStatusIs;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::kTestTimeout;
using testing::LiveConfig;
using testing::PictureConfig;
using testing::ServerFixture;
using testing::StatusIs;
using testing::TestCall;

using Payload = v1::ReenactResponse::PayloadCase;

class ServerTest : public ServerFixture {
 protected:
  // Steps wait at the gate, so that a job stays where the test wants it.
  FakeEngine::Options Gated() {
    FakeEngine::Options options;
    options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
    return options;
  }

  grpc::Status GetJob(const std::string& id, v1::GetJobResponse* response) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    return stub_->GetJob(&context, request, response);
  }
  grpc::Status CancelJob(const std::string& id, v1::CancelJobResponse* response) {
    grpc::ClientContext context;
    v1::CancelJobRequest request;
    request.set_job_id(id);
    return stub_->CancelJob(&context, request, response);
  }

  // One unary call by its full name with hand-made bytes: health and reflection have no stubs in
  // Debian. Returns the bytes of the answer, or the status code's number in angle brackets.
  std::string CallRaw(const std::string& method, const std::string& request_bytes) {
    grpc::GenericStub generic(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         absl::ToChronoMicroseconds(kTestTimeout));
    grpc::Slice slice(request_bytes);
    grpc::ByteBuffer request(&slice, 1), response;
    grpc::CompletionQueue queue;
    auto call = generic.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (!status.ok()) return absl::StrCat("<", status.error_code(), ">");
    grpc::Slice answer;
    response.DumpToSingleSlice(&answer).ok();
    return std::string(reinterpret_cast<const char*>(answer.begin()), answer.size());
  }

  // grpc.health.v1.HealthCheckRequest{service} -> HealthCheckResponse{status}: 1 serving, 2 not.
  std::string Health(const std::string& service) {
    std::string request;
    if (!service.empty()) {
      request = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
    }
    const std::string answer = CallRaw("/grpc.health.v1.Health/Check", request);
    if (answer == std::string("\x08\x01")) return "serving";
    if (answer == std::string("\x08\x02")) return "not serving";
    return answer;
  }
  // The monitor thread tells the health service soon after the state has changed.
  void ExpectHealthBecomes(const std::string& service, const std::string& expected) {
    std::string health;
    for (int i = 0; i < 100000 && health != expected; ++i) health = Health(service);
    EXPECT_EQ(health, expected);
  }
};

constexpr char kService[] = "reenact.v1.ReenactService";

TEST_F(ServerTest, NormalJobAnswersInOrder) {
  FakeEngine::Options options;
  options.num_frames = 7;  // in two rows of 4
  StartServer(TestConfig(), options);
  TestCall call(*stub_);
  v1::JobConfig config = PictureConfig();
  config.set_seed(7);
  call.Send(config).SendChunk("med").SendChunk("ia").HalfClose();

  ASSERT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  const auto& answers = call.answers();
  const std::string id = answers.front().accepted().job_id();
  EXPECT_EQ(answers.front().accepted().model(), "fake");
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].sequence_number(), i);
  int64_t next_frame = 0;
  for (const v1::ReenactResponse& answer : answers) {
    if (!answer.has_video() || answer.video().init_segment()) continue;
    EXPECT_EQ(answer.video().first_frame(), next_frame);
    EXPECT_EQ(answer.video().pts(), next_frame * 1001);
    EXPECT_EQ(answer.video().time_base().denominator(), 30000);
    next_frame += answer.video().num_frames();
  }
  EXPECT_EQ(next_frame, 7);
  EXPECT_THAT(call.Video(), ::testing::StartsWith("init 7;frame 0;"));
  const v1::Summary& summary = answers.back().summary();
  EXPECT_EQ(summary.job_id(), id);
  EXPECT_EQ(summary.seed(), 7u);
  EXPECT_EQ(summary.frames_in(), 7);
  EXPECT_EQ(summary.frames_out(), 7);
  EXPECT_EQ(summary.steps_run(), 6);
  EXPECT_EQ(summary.rows(), 2);
  EXPECT_EQ(summary.padding_slots(), 1);
  EXPECT_EQ(summary.bytes_out(), static_cast<int64_t>(call.Video().size()));
  EXPECT_EQ(summary.frame_notes(0).frame(), 1);
  EXPECT_EQ(summary.stage_times().decode().nanos(), 500'000'000);
  v1::GetJobResponse job;
  ASSERT_THAT(GetJob(id, &job), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(job.job().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.job().progress().frames_done(), 7);
}

TEST_F(ServerTest, FramesCarryTheirFormat) {
  StartServer(TestConfig(), FakeEngine::Options{});
  TestCall call(*stub_);
  v1::JobConfig config = PictureConfig();
  config.mutable_output()->set_format(v1::OUTPUT_FORMAT_PNG);
  call.Send(config).SendChunk("media").HalfClose();

  ASSERT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  int64_t next_frame = 0;
  for (const v1::ReenactResponse& answer : call.answers()) {
    if (!answer.has_frame()) continue;
    EXPECT_EQ(answer.frame().index(), next_frame++);
    EXPECT_EQ(answer.frame().format(), v1::OUTPUT_FORMAT_PNG);
    EXPECT_EQ(answer.frame().width(), 64);
  }
  EXPECT_EQ(next_frame, 8);
}

TEST_F(ServerTest, LiveFramesAreAnsweredWhileTheyAreSent) {
  StartServer(TestConfig(), FakeEngine::Options{});
  TestCall call(*stub_);
  call.Send(LiveConfig());
  std::vector<v1::Frame> frames;
  // Rows of 4: each is answered before the next is sent.
  for (int sent = 0; sent < 12;) {
    for (int i = 0; i < 4; ++i) call.SendFrame("picture", 1000 + 40 * sent++);
    while (static_cast<int>(frames.size()) < sent) {
      const v1::ReenactResponse answer = call.Read();
      ASSERT_NE(answer.payload_case(), Payload::PAYLOAD_NOT_SET);
      if (answer.has_frame()) frames.push_back(answer.frame());
    }
  }
  call.SendEnd().HalfClose();
  ASSERT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  for (size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(frames[i].index(), static_cast<int64_t>(i));
    EXPECT_EQ(frames[i].pts(), 1000 + 40 * static_cast<int64_t>(i));
    EXPECT_EQ(frames[i].time_base().numerator(), 1);
    EXPECT_EQ(frames[i].time_base().denominator(), 1000);
  }
  const v1::Summary& summary = call.answers().back().summary();
  EXPECT_EQ(summary.frames_out(), 12);
  EXPECT_EQ(summary.live().frames_in(), 12);
}

TEST_F(ServerTest, SenderOfAJobThatIsAheadIsHeldUp) {
  FakeEngine::Options options = Gated();
  ServerConfig config = TestConfig();
  config.max_inbox_bytes = 64 << 10;
  StartServer(config, std::move(options));
  TestCall call(*stub_);
  call.Send(LiveConfig());
  const std::string id = call.Read().accepted().job_id();
  // 8 MiB, which no buffer on the way holds: the second half cannot be sent before the gate opens.
  constexpr int kNumFrames = 64;
  std::atomic<int> num_sent{0};
  Gate half_sent;
  std::thread sender([&] {
    for (int i = 0; i < kNumFrames; ++i) {
      call.SendFrame(std::string(128 << 10, 'x'), i);
      if (++num_sent == 9) half_sent.Open();
    }
    call.HalfClose();
  });
  ASSERT_TRUE(half_sent.Await());
  ASSERT_TRUE(engine_->AwaitSteps(1));
  v1::GetJobResponse job;
  for (int i = 0; i < 100000 && job.job().progress().live().frames_in() < 8; ++i) GetJob(id, &job);
  EXPECT_EQ(job.job().progress().live().frames_in(), 8) << "two rows";
  EXPECT_EQ(job.job().state(), v1::JOB_STATE_RUNNING);
  EXPECT_LT(num_sent, kNumFrames);

  gate_.Open();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  sender.join();
  EXPECT_EQ(call.answers().back().summary().frames_out(), kNumFrames);
}

TEST_F(ServerTest, ServesUnixSocketsAndPortsAtOnce) {
  const std::string path =
      (std::filesystem::temp_directory_path() / absl::StrCat("reenact_", getpid(), ".sock"))
          .string();
  ServerConfig config = TestConfig();
  config.listen.push_back("unix:" + path);
  StartServer(config, FakeEngine::Options{});
  ExpectNormalJobSucceeds();

  channel_ = grpc::CreateChannel(server_->addresses()[1], grpc::InsecureChannelCredentials());
  stub_ = v1::ReenactService::NewStub(channel_);
  ExpectNormalJobSucceeds();
}

TEST_F(ServerTest, AddressInUseIsAnError) {
  StartServer(TestConfig(), FakeEngine::Options{});
  ServerConfig config = TestConfig();
  config.listen = {server_->addresses()[0]};

  const auto second = Server::Start(
      config, [] { return absl::InternalError("never"); }, nullptr);

  EXPECT_THAT(second, StatusIs(absl::StatusCode::kUnavailable, server_->addresses()[0]));
}

TEST_F(ServerTest, ListModelsSaysWhatARequestMayAsk) {
  FakeEngine::Options options;
  options.models = {FakeModel("one"), FakeModel("two")};
  StartServer(TestConfig(), std::move(options));
  grpc::ClientContext context;
  v1::ListModelsResponse response;

  ASSERT_THAT(stub_->ListModels(&context, {}, &response), GrpcStatusIs(grpc::StatusCode::OK, ""));

  ASSERT_EQ(response.models_size(), 2);
  EXPECT_EQ(response.models(0).name(), "one");
  EXPECT_EQ(response.models(0).frames_per_row(), 4);
  EXPECT_EQ(response.models(0).samplers(0), v1::SAMPLER_DDIM);
  EXPECT_EQ(response.models(0).output_formats_size(), 4);
  EXPECT_EQ(response.models(0).device(), "cpu");
  EXPECT_EQ(response.max_message_bytes(), ServerConfig().max_message_bytes);
}

TEST_F(ServerTest, BadRequestsAreToldWhyAndTheNextJobSucceeds) {
  FakeEngine::Options options;
  options.on_create = [](const JobRequest& request) {
    if (request.source.image == "dog") {
      return absl::FailedPreconditionError("no face in the source image");
    }
    return request.source.image == "noise" ? absl::InvalidArgumentError("source.image: no image")
                                           : absl::OkStatus();
  };
  options.on_prepare = [](const JobRequest&, const std::string& driving) {
    return driving == "text" ? absl::InvalidArgumentError("driving_chunk: not a video")
                             : absl::OkStatus();
  };
  StartServer(TestConfig(), std::move(options));

  struct Case {
    const char* name;
    std::function<void(TestCall&)> send;
    grpc::StatusCode code;
    const char* message;
  };
  const auto with = [](auto change) {
    v1::JobConfig config = PictureConfig();
    change(config);
    return [config](TestCall& call) { call.Send(config).SendChunk("media").HalfClose(); };
  };
  const Case cases[] = {
      {"no message", [](TestCall& call) { call.HalfClose(); }, grpc::INVALID_ARGUMENT,
       "config: the stream ended without it"},
      {"empty message", [](TestCall& call) { call.SendNothing().HalfClose(); },
       grpc::INVALID_ARGUMENT, "payload: is not set"},
      {"chunk before the config",
       [](TestCall& call) { call.SendChunk("media").Send(PictureConfig()).HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_chunk: came before config"},
      {"second config",
       [](TestCall& call) { call.Send(PictureConfig()).Send(PictureConfig()).HalfClose(); },
       grpc::INVALID_ARGUMENT, "config: may be sent only once"},
      {"zero bytes", [](TestCall& call) { call.Send(PictureConfig()).HalfClose(); },
       grpc::INVALID_ARGUMENT, "without driving media"},
      {"empty chunk", [](TestCall& call) { call.Send(PictureConfig()).SendChunk("").HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_chunk has 0 bytes"},
      {"unknown model", with([](auto& config) { config.set_model("nope"); }), grpc::NOT_FOUND,
       "model is \"nope\", must be one of \"fake\""},
      {"steps = 0", with([](auto& config) { config.set_num_steps(0); }), grpc::INVALID_ARGUMENT,
       "num_steps is 0, must be 2 to 1000"},
      {"no source", with([](auto& config) { config.clear_source(); }), grpc::INVALID_ARGUMENT,
       "source is empty"},
      {"not an image", with([](auto& config) { config.mutable_source()->set_image("noise"); }),
       grpc::INVALID_ARGUMENT, "source.image: no image"},
      {"no face", with([](auto& config) { config.mutable_source()->set_image("dog"); }),
       grpc::FAILED_PRECONDITION, "no face"},
      {"not a video",
       [](TestCall& call) { call.Send(PictureConfig()).SendChunk("text").HalfClose(); },
       grpc::INVALID_ARGUMENT, "not a video"},
      {"frame before the config", [](TestCall& call) { call.SendFrame("picture", 0).HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_frame: came before config"},
      {"frame without live",
       [](TestCall& call) { call.Send(PictureConfig()).SendFrame("picture", 0).HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_frame: the config has no live"},
      {"chunk with live",
       [](TestCall& call) { call.Send(LiveConfig()).SendChunk("media").HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_chunk: the config has live"},
      {"no frames", [](TestCall& call) { call.Send(LiveConfig()).HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_frame: the stream ended without"},
      {"empty frame", [](TestCall& call) { call.Send(LiveConfig()).SendFrame("", 0).HalfClose(); },
       grpc::INVALID_ARGUMENT, "driving_frame.image has 0 bytes"},
      {"frames out of order",
       [](TestCall& call) {
         call.Send(LiveConfig()).SendFrame("picture", 5).SendFrame("picture", 5).HalfClose();
       },
       grpc::INVALID_ARGUMENT, "driving_frame.pts is 5"},
      // The fake model takes 1 MiB of media.
      {"too much media",
       [](TestCall& call) {
         call.Send(PictureConfig());
         for (int i = 0; i < 5; ++i) call.SendChunk(std::string(256 << 10, 'x'));
         call.HalfClose();
       },
       grpc::RESOURCE_EXHAUSTED, "too long"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    TestCall call(*stub_);
    c.send(call);

    EXPECT_THAT(call.Finish(), GrpcStatusIs(c.code, c.message));
    ExpectNormalJobSucceeds();
  }
}

TEST_F(ServerTest, MessagesBeyondTheLimitAreRefused) {
  ServerConfig config = TestConfig();
  config.max_message_bytes = 64 << 10;
  StartServer(config, FakeEngine::Options{});
  TestCall call(*stub_);
  v1::JobConfig big = PictureConfig();
  big.mutable_source()->set_image(std::string(65 << 10, 'x'));

  call.Send(big);

  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::RESOURCE_EXHAUSTED, ""));
  ExpectNormalJobSucceeds();
}

TEST_F(ServerTest, InternalErrorsCarryTheJobIdAndNothingElse) {
  FakeEngine::Options options;
  options.on_step = [](const JobRequest& request, int64_t) {
    return request.seed == 13 ? absl::InternalError("/src/secret.cc:1 boom") : absl::OkStatus();
  };
  StartServer(TestConfig(), std::move(options));
  TestCall call(*stub_);
  v1::JobConfig config = PictureConfig();
  config.set_seed(13);
  call.Send(config).SendChunk("media").HalfClose();

  const std::string id = call.Read().accepted().job_id();
  const grpc::Status status = call.Finish();

  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INTERNAL, id));
  EXPECT_THAT(status.error_message(), ::testing::Not(HasSubstr("secret")));
  ExpectNormalJobSucceeds();
}

TEST_F(ServerTest, CancelledCallStopsWithinOneStepAndItsMemoryReturns) {
  FakeEngine::Options options = Gated();
  options.num_frames = 10000;
  StartServer(TestConfig(), std::move(options));
  TestCall call(*stub_);
  call.Send(PictureConfig()).SendChunk("media").HalfClose();
  const std::string id = call.Read().accepted().job_id();
  ASSERT_TRUE(engine_->AwaitSteps(1));

  call.Cancel();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::CANCELLED, ""));
  // The server learns of it from the transport; CancelJob makes sure that it has before the step
  // ends.
  v1::CancelJobResponse cancelled;
  CancelJob(id, &cancelled);
  gate_.Open();

  EXPECT_TRUE(engine_->AwaitAlive(0));
  EXPECT_EQ(engine_->batch_sizes().size(), 1u);
  v1::GetJobResponse job;
  ASSERT_THAT(GetJob(id, &job), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(job.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(job.job().error_code(), 1);
}

TEST_F(ServerTest, ClientThatVanishesLeavesNothingBehind) {
  // Without a gate: the job would run for a very long time.
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  options.on_render = [](const JobRequest&) { return absl::OkStatus(); };
  StartServer(TestConfig(), std::move(options));
  {
    const auto own_channel =
        grpc::CreateChannel(server_->addresses()[0], grpc::InsecureChannelCredentials());
    const auto own_stub = v1::ReenactService::NewStub(own_channel);
    TestCall call(*own_stub);
    call.Send(PictureConfig()).SendChunk("media").HalfClose();
    EXPECT_TRUE(call.Read().has_accepted());
    ASSERT_TRUE(engine_->AwaitSteps(1));
    call.Cancel();
    call.Finish();
  }

  EXPECT_TRUE(engine_->AwaitAlive(0));
}

TEST_F(ServerTest, CancelJobEndsTheCall) {
  FakeEngine::Options options = Gated();
  StartServer(TestConfig(), std::move(options));
  TestCall call(*stub_);
  call.Send(PictureConfig()).SendChunk("media").HalfClose();
  const std::string id = call.Read().accepted().job_id();
  ASSERT_TRUE(engine_->AwaitSteps(1));

  v1::CancelJobResponse cancelled;
  ASSERT_THAT(CancelJob(id, &cancelled), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(cancelled.job().state(), v1::JOB_STATE_RUNNING) << "it is inside a step";
  gate_.Open();

  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::CANCELLED, "CancelJob"));
  // A job that is over stays as it is.
  ASSERT_THAT(CancelJob(id, &cancelled), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(cancelled.job().state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(CancelJob("nope", &cancelled), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, "nope"));
  v1::GetJobResponse job;
  EXPECT_THAT(GetJob("nope", &job), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, "nope"));
  ExpectNormalJobSucceeds();
}

TEST_F(ServerTest, DeadlineShorterThanTheJobEndsIt) {
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  StartServer(TestConfig(), std::move(options));
  // Long enough for the answer `accepted` on a busy machine.
  TestCall call(*stub_, absl::Seconds(2));
  call.Send(PictureConfig()).SendChunk("media").HalfClose();
  const std::string id = call.Read().accepted().job_id();
  ASSERT_FALSE(id.empty());

  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, ""));

  EXPECT_TRUE(engine_->AwaitAlive(0));
  v1::GetJobResponse job;
  ASSERT_THAT(GetJob(id, &job), GrpcStatusIs(grpc::StatusCode::OK, ""));
  // Also if the client, whose clock started earlier by the time the call took to arrive, ended the
  // call before the server did.
  EXPECT_EQ(job.job().state(), v1::JOB_STATE_EXPIRED);
}

TEST_F(ServerTest, ServersOwnLimitEndsAJobWithoutADeadline) {
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  ServerConfig config = TestConfig();
  config.max_job_duration = absl::Milliseconds(100);
  StartServer(config, std::move(options));
  TestCall call(*stub_);
  call.Send(PictureConfig()).SendChunk("media").HalfClose();

  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, "deadline"));
}

TEST_F(ServerTest, QueueFullSaysWhenToTryAgain) {
  ServerConfig config = TestConfig();
  config.max_queued_jobs = 1;
  config.max_active_jobs = 1;
  config.retry_delay = absl::Milliseconds(1500);
  StartServer(config, Gated());
  TestCall running(*stub_), queued(*stub_), refused(*stub_);
  running.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(1));
  queued.Send(PictureConfig()).SendChunk("media").HalfClose();
  EXPECT_EQ(queued.Read().accepted().queue_position(), 0);

  refused.Send(PictureConfig());
  const grpc::Status status = refused.Finish();

  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue is full (1 jobs)"));
  internal::RpcStatus details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), 8);
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  internal::RetryInfo retry;
  ASSERT_TRUE(retry.ParseFromString(details.details(0).value()));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  gate_.Open();
  EXPECT_THAT(running.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_THAT(queued.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  ExpectNormalJobSucceeds();
}

TEST_F(ServerTest, SlowReaderPausesItselfOnlyAndGetsEverythingInTheEnd) {
  // 64 MiB of output: more than gRPC, the kernel and the outbox take before the client reads.
  FakeEngine::Options options;
  options.num_frames = 256;
  options.bytes_per_frame = 256 << 10;
  ServerConfig config = TestConfig();
  config.max_active_jobs = 1;
  config.max_outbox_bytes = 1 << 20;
  config.max_rows_ahead = 1;
  StartServer(config, std::move(options));
  TestCall slow(*stub_);
  slow.Send(PictureConfig()).SendChunk("media").HalfClose();
  const std::string id = slow.Read().accepted().job_id();

  // There is one place on the device, yet another job on another connection finishes.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto other_channel = grpc::CreateCustomChannel(
      server_->addresses()[0], grpc::InsecureChannelCredentials(), arguments);
  const auto other_stub = v1::ReenactService::NewStub(other_channel);
  TestCall quick(*other_stub);
  quick.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_THAT(quick.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  v1::GetJobResponse job;
  ASSERT_THAT(GetJob(id, &job), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(job.job().state(), v1::JOB_STATE_RUNNING);
  EXPECT_LT(job.job().progress().frames_done(), 128) << "most of the output must not exist yet";
  ASSERT_THAT(slow.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(slow.Video().size(), quick.Video().size());
  EXPECT_EQ(slow.answers().back().summary().frames_out(), 256);
}

TEST_F(ServerTest, DrainFinishesRunningJobsRefusesNewOnesAndStops) {
  StartServer(TestConfig(), Gated());
  ExpectHealthBecomes(kService, "serving");
  TestCall running(*stub_);
  running.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(1));

  server_->Drain();
  ExpectHealthBecomes(kService, "not serving");
  EXPECT_EQ(Health(""), "serving") << "draining is no reason to be killed";
  TestCall late(*stub_);
  late.Send(PictureConfig());
  EXPECT_THAT(late.Finish(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, "draining"));

  gate_.Open();
  EXPECT_THAT(running.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_TRUE(stopped_.Await());
}

TEST_F(ServerTest, DrainThatTakesTooLongEndsTheJobs) {
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  ServerConfig config = TestConfig();
  config.drain_timeout = absl::Milliseconds(50);
  StartServer(config, std::move(options));
  TestCall running(*stub_);
  running.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(1));

  server_->Drain();

  EXPECT_THAT(running.Finish(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, "shutting down"));
  EXPECT_TRUE(stopped_.Await());
}

TEST_F(ServerTest, DestructorDoesNotWaitForTheDrainTimeout) {
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  ServerConfig config = TestConfig();
  config.drain_timeout = absl::Hours(1);
  StartServer(config, std::move(options));
  TestCall running(*stub_);
  running.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(1));

  engine_ = nullptr;
  server_.reset();

  EXPECT_THAT(running.Finish(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, ""));
}

TEST_F(ServerTest, PortIsOpenBeforeTheModelIsLoaded) {
  StartServer(TestConfig(), [this]() -> absl::StatusOr<std::unique_ptr<Engine>> {
    if (const absl::Status status = WaitAtGate(); !status.ok()) return status;
    auto engine = std::make_unique<FakeEngine>();
    engine_ = engine.get();
    return engine;
  });

  EXPECT_EQ(Health(kService), "not serving");
  EXPECT_EQ(Health(""), "serving");
  EXPECT_EQ(Health("unknown"), "<5>");  // NOT_FOUND
  TestCall early(*stub_);
  early.Send(PictureConfig());
  EXPECT_THAT(early.Finish(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, "loading"));
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  EXPECT_THAT(stub_->ListModels(&context, {}, &models),
              GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, "loading"));

  gate_.Open();
  ASSERT_THAT(server_->AwaitLoaded(), IsOk());
  ExpectHealthBecomes(kService, "serving");
  ExpectNormalJobSucceeds();
}

TEST_F(ServerTest, ModelThatDoesNotLoadStopsTheServer) {
  StartServer(TestConfig(), []() -> absl::StatusOr<std::unique_ptr<Engine>> {
    return absl::InvalidArgumentError("sdit.safetensors: wrong hash");
  });

  EXPECT_THAT(server_->Wait(), StatusIs(absl::StatusCode::kInvalidArgument, "wrong hash"));
  EXPECT_TRUE(stopped_.Await());
  server_.reset();
}

TEST_F(ServerTest, StuckSchedulerIsSeenByTheHealthService) {
  ServerConfig config = TestConfig();
  config.heartbeat_timeout = absl::Milliseconds(1);
  StartServer(config, Gated());
  TestCall call(*stub_);
  call.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(1));

  ExpectHealthBecomes("", "not serving");

  gate_.Open();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
}

TEST_F(ServerTest, ReflectionListsTheService) {
  StartServer(TestConfig(), FakeEngine::Options{});
  // grpc.reflection.v1alpha ServerReflectionRequest{list_services = ""}: field 7, length 0.
  grpc::GenericStub generic(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto call = generic.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  const auto await = [&] { return queue.Next(&tag, &ok) && ok; };
  call->StartCall(this);
  ASSERT_TRUE(await());
  grpc::Slice slice(std::string("\x3a\x00", 2));
  call->Write(grpc::ByteBuffer(&slice, 1), this);
  ASSERT_TRUE(await());
  grpc::ByteBuffer response;
  call->Read(&response, this);
  ASSERT_TRUE(await());
  call->WritesDone(this);
  await();
  grpc::Status status;
  call->Finish(&status, this);
  await();

  grpc::Slice answer;
  ASSERT_TRUE(response.DumpToSingleSlice(&answer).ok());
  EXPECT_THAT(std::string(reinterpret_cast<const char*>(answer.begin()), answer.size()),
              HasSubstr("reenact.v1.ReenactService"));
}

TEST_F(ServerTest, ClientsAtOnceGetTheSameBytesForTheSameRequest) {
  StartServer(TestConfig(), FakeEngine::Options{});
  constexpr int kNumClients = 4;
  std::vector<std::string> videos(kNumClients);
  std::vector<std::thread> threads;
  for (int i = 0; i < kNumClients; ++i) {
    threads.emplace_back([this, i, &videos] {
      TestCall call(*stub_);
      call.Send(PictureConfig()).SendChunk("media").HalfClose();
      EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
      videos[i] = call.Video();
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const std::string& video : videos) EXPECT_EQ(video, videos[0]);
  EXPECT_FALSE(videos[0].empty());
}

}  // namespace
}  // namespace reenact
