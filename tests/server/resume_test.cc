// Jobs that outlive their call, over real gRPC on a loopback port, with a fake engine.
#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/test_client.h"

namespace reenact {
namespace {

using testing::FakeEngine;
using testing::GrpcStatusIs;
using ::testing::HasSubstr;
using testing::kTestTimeout;
using testing::PictureConfig;
using testing::ServerFixture;
using ::testing::StartsWith;
using testing::TestCall;

constexpr int64_t kEndless = 1'000'000'000;

v1::JobConfig KeyedConfig(const std::string& key = "key") {
  v1::JobConfig config = PictureConfig();
  config.set_idempotency_key(key);
  return config;
}

// One ResumeJob call.
class ResumeCall : public testing::AnsweredCall<grpc::ClientReader<v1::ReenactResponse>> {
 public:
  ResumeCall(v1::ReenactService::Stub& stub, const v1::ResumeJobRequest& request,
             const std::string& tenant = "", absl::Duration deadline = kTestTimeout)
      : AnsweredCall(deadline, tenant) {
    stream_ = stub.ResumeJob(&context_, request);
  }
};

v1::ResumeJobRequest From(const std::string& job_id, uint64_t next_sequence_number) {
  v1::ResumeJobRequest request;
  request.set_job_id(job_id);
  request.set_next_sequence_number(next_sequence_number);
  return request;
}

class ResumeTest : public ServerFixture {
 protected:
  FakeEngine::Options Gated() {
    FakeEngine::Options options;
    options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
    return options;
  }
  // A job that never ends by itself.
  static FakeEngine::Options Endless() {
    FakeEngine::Options options;
    options.num_frames = kEndless;
    return options;
  }

  struct Started {
    std::string id;
    uint64_t next = 0;  // number of the next answer
    std::string video;  // as far as it has been read
  };
  // Starts a job that can be resumed, and reads until the server has all of its media.
  static Started Start(TestCall& call, const v1::JobConfig& config = KeyedConfig()) {
    call.Send(config).SendChunk("media").SendEnd().HalfClose();
    Started started;
    while (true) {
      const v1::ReenactResponse answer = call.Read();
      if (answer.payload_case() == v1::ReenactResponse::PAYLOAD_NOT_SET) {
        ADD_FAILURE() << call.Finish().error_message();
        return started;
      }
      started.next = answer.sequence_number() + 1;
      started.video += answer.video().data();
      if (answer.has_accepted()) started.id = answer.accepted().job_id();
      const bool receiving = answer.progress().stage() == v1::STAGE_RECEIVING;
      if (!answer.has_accepted() && !(answer.has_progress() && receiving)) return started;
    }
  }

  // All media of an undisturbed job.
  std::string WholeVideo() {
    TestCall call(*stub_);
    call.Send(PictureConfig()).SendChunk("media").HalfClose();
    EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
    return call.Video();
  }

  v1::Job GetJob(const std::string& id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    v1::GetJobResponse response;
    EXPECT_THAT(stub_->GetJob(&context, request, &response),
                GrpcStatusIs(grpc::StatusCode::OK, ""));
    return response.job();
  }
  // The job once it has ended.
  v1::Job AwaitEnd(const std::string& id) {
    v1::Job job;
    for (int i = 0; i < 1'000'000; ++i) {
      job = GetJob(id);
      if (job.state() >= v1::JOB_STATE_SUCCEEDED) break;
    }
    return job;
  }
  grpc::Status CancelJob(const v1::CancelJobRequest& request, const std::string& tenant = "") {
    grpc::ClientContext context;
    if (!tenant.empty()) context.AddMetadata("reenact-tenant", tenant);
    v1::CancelJobResponse response;
    return stub_->CancelJob(&context, request, &response);
  }
  grpc::Status ResumeStatus(const v1::ResumeJobRequest& request, const std::string& tenant = "") {
    return ResumeCall(*stub_, request, tenant).Finish();
  }
};

TEST_F(ResumeTest, LostJobGoesOnAndItsCallerGetsEveryAnswerOnce) {
  FakeEngine::Options options = Gated();
  options.num_frames = 40;
  StartServer(TestConfig(), std::move(options));
  TestCall lost(*stub_);
  const auto [id, next, begun] = Start(lost);
  ASSERT_TRUE(engine_->AwaitSteps(1));

  lost.Cancel();
  lost.Finish();
  gate_.Open();
  ResumeCall resumed(*stub_, From(id, next));

  ASSERT_THAT(resumed.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  for (size_t i = 0; i < resumed.answers().size(); ++i) {
    EXPECT_EQ(resumed.answers()[i].sequence_number(), next + i);
  }
  EXPECT_EQ(begun + resumed.Video(), WholeVideo());
  EXPECT_EQ(resumed.answers().back().summary().frames_out(), 40);
  EXPECT_EQ(GetJob(id).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(ResumeTest, LostOftenItStillGivesTheSameBytes) {
  FakeEngine::Options options;
  options.num_frames = 64;
  StartServer(TestConfig(), std::move(options));
  TestCall first(*stub_);
  auto [id, next, video] = Start(first);
  first.Cancel();
  first.Finish();

  bool over = false;
  for (int round = 0; round < 1000 && !over; ++round) {
    ResumeCall call(*stub_, From(id, next));
    for (int i = 0; i < 1 + round % 3 && !over; ++i) {
      const v1::ReenactResponse answer = call.Read();
      ASSERT_NE(answer.payload_case(), v1::ReenactResponse::PAYLOAD_NOT_SET)
          << call.Finish().error_message();
      ASSERT_EQ(answer.sequence_number(), next++);
      video += answer.video().data();
      over = answer.has_summary();
    }
    call.Cancel();
    call.Finish();
  }

  EXPECT_TRUE(over);
  EXPECT_EQ(video, WholeVideo());
}

TEST_F(ResumeTest, KnownByItsKeyAlone) {
  StartServer(TestConfig(), FakeEngine::Options{});
  TestCall lost(*stub_);
  Start(lost, KeyedConfig("mine"));
  lost.Cancel();
  lost.Finish();
  v1::ResumeJobRequest request;
  request.set_idempotency_key("mine");

  ResumeCall resumed(*stub_, request);

  ASSERT_THAT(resumed.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_TRUE(resumed.answers().front().has_accepted());
  EXPECT_EQ(resumed.Video(), WholeVideo());
}

TEST_F(ResumeTest, OnlyJobsWithAKeyAndAllOfTheirMediaOutliveTheirCall) {
  StartServer(TestConfig(), Endless());
  struct Case {
    const char* name;
    v1::JobConfig config;
    std::function<void(TestCall&)> send;
  };
  const Case cases[] = {
      {"no key", PictureConfig(),
       [](TestCall& call) { call.SendChunk("media").SendEnd().HalfClose(); }},
      {"half-closed without driving_end", KeyedConfig(),
       [](TestCall& call) { call.SendChunk("media").HalfClose(); }},
      {"media incomplete", KeyedConfig(), [](TestCall& call) { call.SendChunk("media"); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    TestCall call(*stub_);
    call.Send(c.config);
    c.send(call);
    const std::string id = call.Read().accepted().job_id();
    call.Cancel();
    call.Finish();

    EXPECT_EQ(AwaitEnd(id).state(), v1::JOB_STATE_CANCELLED);
    EXPECT_TRUE(engine_->AwaitAlive(0));
  }
}

TEST_F(ResumeTest, LostJobEndsWhenNobodyResumesIt) {
  ServerConfig config = TestConfig();
  config.resume_timeout = absl::Milliseconds(50);
  StartServer(config, Endless());
  TestCall lost(*stub_);
  const auto [id, next, begun] = Start(lost);
  ASSERT_TRUE(engine_->AwaitSteps(1));
  lost.Cancel();
  lost.Finish();

  EXPECT_TRUE(engine_->AwaitAlive(0));

  const v1::Job job = GetJob(id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(job.error_message(), HasSubstr("nobody resumed the job in 50ms"));
  EXPECT_THAT(ResumeStatus(From(id, next)), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, id));
}

TEST_F(ResumeTest, LostJobPausesWhenItsBufferIsFull) {
  // There is one place on the device. 64 MiB of output: more than gRPC, the kernel and the outbox
  // take, and all that was sent is kept.
  FakeEngine::Options options;
  options.num_frames = 1024;
  options.bytes_per_frame = 64 << 10;
  ServerConfig config = TestConfig();
  config.max_active_jobs = 1;
  config.max_outbox_bytes = 1 << 20;
  config.resume_buffer_bytes = 128 << 20;
  StartServer(config, std::move(options));
  TestCall lost(*stub_);
  const auto [id, next, begun] = Start(lost);
  lost.Cancel();
  lost.Finish();

  const std::string whole = WholeVideo();

  EXPECT_EQ(GetJob(id).state(), v1::JOB_STATE_RUNNING);
  EXPECT_LT(GetJob(id).progress().frames_done(), 1024);
  ResumeCall resumed(*stub_, From(id, next));
  ASSERT_THAT(resumed.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_TRUE(begun + resumed.Video() == whole);
}

TEST_F(ResumeTest, ErrorsAreStated) {
  ServerConfig config = TestConfig();
  // Room for two answers without media.
  config.resume_buffer_bytes = 2 * 512 + 100;
  FakeEngine::Options options = Endless();
  options.bytes_per_frame = 1;
  options.on_step = [this](const JobRequest&, int64_t step) {
    return step >= 90 ? WaitAtGate() : absl::OkStatus();
  };
  StartServer(config, std::move(options));
  TestCall keyed(*stub_);
  auto [id, sent, begun] = Start(keyed);
  while (sent < 10) sent = keyed.Read().sequence_number() + 1;
  TestCall keyless(*stub_), incomplete(*stub_);
  keyless.Send(PictureConfig()).SendChunk("media").HalfClose();
  const std::string keyless_id = keyless.Read().accepted().job_id();
  incomplete.Send(KeyedConfig("incomplete")).SendChunk("media");
  const std::string incomplete_id = incomplete.Read().accepted().job_id();

  EXPECT_THAT(ResumeStatus(From("", 0)),
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                           "job_id and idempotency_key are not set, must be one of them"));
  v1::ResumeJobRequest both = From(id, 0);
  both.set_idempotency_key("key");
  EXPECT_THAT(ResumeStatus(both), GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, "both set"));
  EXPECT_THAT(ResumeStatus(From("nope", 0)), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, "nope"));
  v1::ResumeJobRequest by_key;
  by_key.set_idempotency_key("nope");
  EXPECT_THAT(ResumeStatus(by_key), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, "idempotency_key"));
  EXPECT_THAT(ResumeStatus(From(keyless_id, 0)),
              GrpcStatusIs(grpc::StatusCode::FAILED_PRECONDITION, "no idempotency_key"));
  EXPECT_THAT(ResumeStatus(From(incomplete_id, 0)),
              GrpcStatusIs(grpc::StatusCode::FAILED_PRECONDITION, "media is not complete"));
  EXPECT_THAT(ResumeStatus(From(id, 0)),
              GrpcStatusIs(grpc::StatusCode::OUT_OF_RANGE, "next_sequence_number is 0, must be"));
  EXPECT_THAT(ResumeStatus(From(id, kEndless)),
              GrpcStatusIs(grpc::StatusCode::OUT_OF_RANGE, "were sent so far"));
  EXPECT_THAT(ResumeStatus(From(id, sent), "stranger"),
              GrpcStatusIs(grpc::StatusCode::NOT_FOUND, id));
  EXPECT_THAT(ResumeStatus(From(id, sent), std::string(65, 'x')),
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                           "reenact-tenant has 65 characters, must have 1 to 64"));

  // None of this has disturbed the job.
  EXPECT_EQ(GetJob(id).state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(keyed.Read().sequence_number(), sent);
  v1::CancelJobRequest cancel;
  cancel.set_job_id(id);
  EXPECT_THAT(CancelJob(cancel, "stranger"), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, id));
  EXPECT_THAT(CancelJob(cancel), GrpcStatusIs(grpc::StatusCode::OK, ""));
  keyless.Cancel();
  incomplete.Cancel();
  gate_.Open();
  EXPECT_THAT(keyed.Finish(), GrpcStatusIs(grpc::StatusCode::CANCELLED, "CancelJob"));
  keyless.Finish();
  incomplete.Finish();
}

TEST_F(ResumeTest, TheFormerCallIsAborted) {
  StartServer(TestConfig(), Gated());
  TestCall former(*stub_);
  const auto [id, next, begun] = Start(former);
  ASSERT_TRUE(engine_->AwaitSteps(1));

  ResumeCall later(*stub_, From(id, 0));
  EXPECT_THAT(former.Finish(), GrpcStatusIs(grpc::StatusCode::ABORTED, "another call"));
  gate_.Open();

  ASSERT_THAT(later.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_TRUE(later.answers().front().has_accepted());
  EXPECT_EQ(later.Video(), WholeVideo());
}

TEST_F(ResumeTest, TheResumingCallsDeadlineCounts) {
  FakeEngine::Options options = Endless();
  StartServer(TestConfig(), std::move(options));
  TestCall lost(*stub_);
  const auto [id, next, begun] = Start(lost);
  lost.Cancel();
  lost.Finish();

  ResumeCall resumed(*stub_, From(id, next), "", absl::Milliseconds(300));

  EXPECT_THAT(resumed.Finish(), GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, ""));
  EXPECT_TRUE(engine_->AwaitAlive(0));
  EXPECT_EQ(GetJob(id).state(), v1::JOB_STATE_EXPIRED);
}

TEST_F(ResumeTest, EndedJobsAreKeptForAWhile) {
  FakeEngine::Options options;
  options.on_step = [](const JobRequest& request, int64_t) {
    return request.seed == 13 ? absl::InternalError("boom") : absl::OkStatus();
  };
  StartServer(TestConfig(), std::move(options));
  TestCall good(*stub_), bad(*stub_);
  const auto [good_id, next, begun] = Start(good);
  ASSERT_THAT(good.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  v1::JobConfig config = KeyedConfig("bad");
  config.set_seed(13);
  bad.Send(config).SendChunk("media").SendEnd().HalfClose();
  const std::string bad_id = bad.Read().accepted().job_id();
  ASSERT_THAT(bad.Finish(), GrpcStatusIs(grpc::StatusCode::INTERNAL, bad_id));

  for (int i = 0; i < 2; ++i) {
    ResumeCall again(*stub_, From(good_id, 1));
    EXPECT_THAT(again.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
    EXPECT_EQ(again.Video(), begun + good.Video());
    EXPECT_TRUE(again.answers().back().has_summary());
    EXPECT_THAT(ResumeStatus(From(bad_id, 1)), GrpcStatusIs(grpc::StatusCode::INTERNAL, bad_id));
  }
  EXPECT_THAT(ResumeStatus(From(good_id, 0)),
              GrpcStatusIs(grpc::StatusCode::OUT_OF_RANGE, "before 1 are not kept"))
      << "1 was asked for before, so 0 had arrived";
}

TEST_F(ResumeTest, EndedJobsAreForgotten) {
  ServerConfig config = TestConfig();
  config.resume_timeout = absl::ZeroDuration();
  StartServer(config, FakeEngine::Options{});
  TestCall call(*stub_);
  const auto [id, next, begun] = Start(call);
  ASSERT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  EXPECT_THAT(ResumeStatus(From(id, 1)), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, id));
}

TEST_F(ResumeTest, OnlySoManyEndedJobsAreKept) {
  ServerConfig config = TestConfig();
  config.max_jobs = config.max_active_jobs = 2;
  StartServer(config, FakeEngine::Options{});
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    TestCall call(*stub_);
    ids.push_back(Start(call, KeyedConfig(absl::StrCat("key ", i))).id);
    ASSERT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  }

  EXPECT_THAT(ResumeStatus(From(ids[0], 1)), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, ids[0]));
  EXPECT_THAT(ResumeStatus(From(ids[1], 1)), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_THAT(ResumeStatus(From(ids[2], 1)), GrpcStatusIs(grpc::StatusCode::OK, ""));
}

TEST_F(ResumeTest, TheSameKeyIsTheSameJob) {
  std::atomic<int> num_created{0};
  FakeEngine::Options options = Gated();
  options.on_create = [&num_created](const JobRequest&) {
    ++num_created;
    return absl::OkStatus();
  };
  StartServer(TestConfig(), std::move(options));
  TestCall first(*stub_);
  const auto [id, next, begun] = Start(first);
  ASSERT_TRUE(engine_->AwaitSteps(1));

  // While it runs, sending more than any buffer on the way takes; and once it has ended.
  TestCall second(*stub_);
  second.Send(KeyedConfig());
  for (int i = 0; i < 64; ++i) second.SendChunk(std::string(1 << 20, 'x'));
  second.SendEnd().HalfClose();
  EXPECT_THAT(first.Finish(), GrpcStatusIs(grpc::StatusCode::ABORTED, ""));
  gate_.Open();
  ASSERT_THAT(second.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  TestCall third(*stub_);
  third.Send(KeyedConfig()).SendChunk("media").HalfClose();
  ASSERT_THAT(third.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  EXPECT_EQ(num_created, 1);
  for (const TestCall* call : {&second, &third}) {
    EXPECT_EQ(call->answers().front().accepted().job_id(), id);
    EXPECT_THAT(call->Video(), StartsWith("init 0;frame 0;"));
    EXPECT_TRUE(call->answers().back().has_summary());
  }
  EXPECT_EQ(second.Video(), third.Video());
}

TEST_F(ResumeTest, TheSameKeyWithAnotherConfigIsRefused) {
  StartServer(TestConfig(), FakeEngine::Options{});
  TestCall first(*stub_), second(*stub_);
  const auto [id, next, begun] = Start(first);
  v1::JobConfig other = KeyedConfig();
  other.set_seed(1);

  second.Send(other).SendChunk("media").HalfClose();

  EXPECT_THAT(second.Finish(), GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                            absl::StrCat("idempotency_key is that of job ", id)));
  EXPECT_THAT(first.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
}

TEST_F(ResumeTest, TheSameKeyWhoseAnswersAreGoneNamesTheJob) {
  ServerConfig config = TestConfig();
  config.resume_buffer_bytes = 2000;
  FakeEngine::Options options;
  options.bytes_per_frame = 1000;
  StartServer(config, std::move(options));
  TestCall first(*stub_), second(*stub_);
  const auto [id, next, begun] = Start(first);
  ASSERT_THAT(first.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  second.Send(KeyedConfig()).SendChunk("media").HalfClose();

  EXPECT_THAT(second.Finish(), GrpcStatusIs(grpc::StatusCode::ALREADY_EXISTS, id));
  ResumeCall last(*stub_, From(id, first.answers().back().sequence_number()));
  EXPECT_THAT(last.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  ASSERT_EQ(last.answers().size(), 1u);
  EXPECT_TRUE(last.answers()[0].has_summary());
}

TEST_F(ResumeTest, TheSameKeyOfAnotherTenantIsAnotherJob) {
  StartServer(TestConfig(), FakeEngine::Options{});
  std::set<std::string> ids;
  for (const char* tenant : {"", "ann", "bob"}) {
    TestCall call(*stub_, kTestTimeout, tenant);
    ids.insert(Start(call).id);
    EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  }
  EXPECT_EQ(ids.size(), 3u);
}

TEST_F(ResumeTest, AJobWithoutAllOfItsMediaIsStartedAnewByItsKey) {
  StartServer(TestConfig(), FakeEngine::Options{});
  TestCall first(*stub_), second(*stub_), third(*stub_);
  first.Send(KeyedConfig()).SendChunk("media");
  const std::string first_id = first.Read().accepted().job_id();

  // While the former call is open, and when it was lost.
  second.Send(KeyedConfig()).SendChunk("media");
  const std::string second_id = second.Read().accepted().job_id();
  EXPECT_THAT(first.Finish(), GrpcStatusIs(grpc::StatusCode::CANCELLED, "started anew"));
  second.Cancel();
  second.Finish();
  const std::string third_id = Start(third).id;

  EXPECT_THAT(third.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_NE(first_id, second_id);
  EXPECT_NE(second_id, third_id);
}

TEST_F(ResumeTest, CallsAtOnceWithOneKeyBeginOneJob) {
  std::atomic<int> num_created{0};
  FakeEngine::Options options;
  options.on_create = [&num_created](const JobRequest&) {
    ++num_created;
    return absl::OkStatus();
  };
  StartServer(TestConfig(), std::move(options));
  TestCall first(*stub_);
  const auto [id, next, begun] = Start(first);
  std::vector<std::thread> threads;
  std::atomic<int> num_ok{0}, num_aborted{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      TestCall call(*stub_);
      call.Send(KeyedConfig()).SendChunk("media").SendEnd().HalfClose();
      const grpc::Status status = call.Finish();
      num_ok += status.ok() ? 1 : 0;
      num_aborted += status.error_code() == grpc::StatusCode::ABORTED ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  first.Finish();

  EXPECT_EQ(num_created, 1);
  EXPECT_GE(num_ok, 1);
  EXPECT_EQ(num_ok + num_aborted, 8);
}

TEST_F(ResumeTest, CancelJobEndsALostJobWithinAStep) {
  StartServer(TestConfig(), Gated());
  for (const bool by_key : {false, true}) {
    gate_.Shut();
    const size_t steps_before = engine_->batch_sizes().size();
    TestCall lost(*stub_);
    const auto [id, next, begun] = Start(lost, KeyedConfig(by_key ? "by key" : "by id"));
    ASSERT_TRUE(engine_->AwaitSteps(steps_before + 1));
    lost.Cancel();
    lost.Finish();
    v1::CancelJobRequest cancel;
    if (by_key) {
      cancel.set_idempotency_key("by key");
    } else {
      cancel.set_job_id(id);
    }

    EXPECT_THAT(CancelJob(cancel), GrpcStatusIs(grpc::StatusCode::OK, ""));
    gate_.Open();

    EXPECT_TRUE(engine_->AwaitAlive(0));
    EXPECT_EQ(engine_->batch_sizes().size(), steps_before + 1);
    EXPECT_EQ(GetJob(id).state(), v1::JOB_STATE_CANCELLED);
  }
}

TEST_F(ResumeTest, LostJobsDoNotHoldUpTheEndOfTheServer) {
  ServerConfig config = TestConfig();
  config.drain_timeout = absl::Milliseconds(50);
  config.resume_timeout = absl::Hours(1);
  StartServer(config, Endless());
  TestCall lost(*stub_);
  Start(lost);
  ASSERT_TRUE(engine_->AwaitSteps(1));
  lost.Cancel();
  lost.Finish();
  // TearDown() drains.
}

TEST_F(ResumeTest, SilenceWhileMediaIsDueEndsTheJob) {
  ServerConfig config = TestConfig();
  // The job that follows must not be silent for so long on a busy machine.
  config.receive_timeout = absl::Seconds(1);
  StartServer(config, FakeEngine::Options{});
  TestCall silent(*stub_), begun(*stub_);
  silent.Send(PictureConfig());
  begun.Send(PictureConfig()).SendChunk("med");

  for (TestCall* call : {&silent, &begun}) {
    EXPECT_THAT(call->Finish(),
                GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, "no driving media came for 1s"));
  }
  ExpectNormalJobSucceeds();
}

TEST_F(ResumeTest, AThousandConnectionsThatSendOnlyTheConfig) {
  constexpr int kNumConnections = 1000;
  ServerConfig config = TestConfig();
  config.receive_timeout = absl::Seconds(1);
  StartServer(config, FakeEngine::Options{});
  std::vector<std::unique_ptr<v1::ReenactService::Stub>> stubs;
  std::vector<std::unique_ptr<TestCall>> calls;
  for (int i = 0; i < kNumConnections; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(v1::ReenactService::NewStub(grpc::CreateCustomChannel(
        server_->addresses()[0], grpc::InsecureChannelCredentials(), arguments)));
    calls.push_back(std::make_unique<TestCall>(*stubs.back()));
    calls.back()->Send(PictureConfig());
  }

  int num_refused = 0, num_expired = 0;
  for (const auto& call : calls) {
    const grpc::Status status = call->Finish();
    if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++num_refused;
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) ++num_expired;
  }

  EXPECT_EQ(num_refused + num_expired, kNumConnections);
  EXPECT_GE(num_expired, config.max_queued_jobs);
  ExpectNormalJobSucceeds();
}

TEST_F(ResumeTest, ClientThatNeverReadsPausesOnlyItselfAndEndsWithItsDeadline) {
  // There is one place on the device. 32 MiB of output: more than gRPC, the kernel and the outbox
  // take, and no more than the second job can pass on in the time it has on a busy machine.
  constexpr int kFrames = 512;
  FakeEngine::Options options;
  options.num_frames = kFrames;
  options.bytes_per_frame = 64 << 10;
  ServerConfig config = TestConfig();
  config.max_active_jobs = 1;
  config.max_outbox_bytes = 1 << 20;
  config.max_job_duration = absl::Seconds(4);
  StartServer(config, std::move(options));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto own_stub = v1::ReenactService::NewStub(grpc::CreateCustomChannel(
      server_->addresses()[0], grpc::InsecureChannelCredentials(), arguments));
  TestCall silent(*own_stub);
  const auto [id, next, begun] = Start(silent);

  TestCall quick(*stub_);
  quick.Send(PictureConfig()).SendChunk("media").HalfClose();
  EXPECT_THAT(quick.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  EXPECT_TRUE(engine_->AwaitAlive(0));
  EXPECT_EQ(GetJob(id).state(), v1::JOB_STATE_EXPIRED);
  EXPECT_LT(GetJob(id).progress().frames_done(), kFrames);
  EXPECT_THAT(silent.Finish(), GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, ""));
}

}  // namespace
}  // namespace reenact
