// ExtractMotion over real gRPC with a fake engine: order, bounds, refusals, ends; and that jobs and
// extractions do not wait for each other.
#include <atomic>
#include <functional>
#include <thread>

#include "server/convert.h"
#include "server/extraction_runner.h"
#include "server/log.h"
#include "tests/fakes/fake_clock.h"
#include "tests/server/test_client.h"

namespace reenact {
namespace {

using testing::FakeClock;
using testing::FakeEngine;
using testing::GrpcStatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::kTestTimeout;
using testing::ServerFixture;
using testing::TestCall;

// One ExtractMotion call. For one thread.
class ExtractCall {
 public:
  explicit ExtractCall(v1::ReenactService::Stub& stub, absl::Duration deadline = kTestTimeout) {
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(deadline));
    stream_ = stub.ExtractMotion(&context_);
  }

  ExtractCall& Send(const v1::ExtractMotionConfig& config = {}) {
    v1::ExtractMotionRequest request;
    *request.mutable_config() = config;
    stream_->Write(request);
    return *this;
  }
  ExtractCall& SendChunk(const std::string& bytes) {
    v1::ExtractMotionRequest request;
    request.set_driving_chunk(bytes);
    stream_->Write(request);
    return *this;
  }
  ExtractCall& SendNothing() {
    stream_->Write(v1::ExtractMotionRequest());
    return *this;
  }
  ExtractCall& HalfClose() {
    stream_->WritesDone();
    return *this;
  }
  bool Read() {
    v1::ExtractMotionResponse response;
    if (!stream_->Read(&response)) return false;
    Take(response);
    return true;
  }
  // Reads the rest and the status.
  grpc::Status Finish() {
    while (Read()) {
    }
    return stream_->Finish();
  }
  void Cancel() { context_.TryCancel(); }

  const std::string& bytes() const { return bytes_; }
  const std::vector<v1::ExtractMotionSummary>& summaries() const { return summaries_; }
  size_t largest_chunk() const { return largest_chunk_; }

 private:
  void Take(const v1::ExtractMotionResponse& response) {
    if (response.has_summary()) {
      summaries_.push_back(response.summary());
      return;
    }
    EXPECT_TRUE(summaries_.empty()) << "the summary is the last answer";
    EXPECT_FALSE(response.template_chunk().empty());
    bytes_ += response.template_chunk();
    largest_chunk_ = std::max(largest_chunk_, response.template_chunk().size());
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ExtractMotionRequest, v1::ExtractMotionResponse>>
      stream_;
  std::string bytes_;
  std::vector<v1::ExtractMotionSummary> summaries_;
  size_t largest_chunk_ = 0;
};

class ExtractionTest : public ServerFixture {
 protected:
  void ExpectNormalExtractionSucceeds() {
    ExtractCall call(*stub_);
    call.Send().SendChunk("abc").HalfClose();
    EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
    EXPECT_THAT(call.bytes(), HasSubstr("motion 0;"));
    EXPECT_THAT(call.bytes(), HasSubstr("motion 2;"));
    ASSERT_EQ(call.summaries().size(), 1u);
    EXPECT_EQ(call.summaries()[0].frames(), 3);
  }
};

TEST_F(ExtractionTest, GivesTheTemplateAndTheSummaryLast) {
  StartServer(TestConfig(), FakeEngine::Options{});
  ExtractCall call(*stub_);
  v1::ExtractMotionConfig config;
  config.set_copy_audio(false);
  call.Send(config).SendChunk("ab").SendChunk("c").HalfClose();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(call.bytes(), "motion 0;.motion 1;.motion 2;.");
  ASSERT_EQ(call.summaries().size(), 1u);
  const v1::ExtractMotionSummary& summary = call.summaries()[0];
  EXPECT_EQ(summary.frames(), 3);
  EXPECT_EQ(summary.frames_with_face(), 2);
  EXPECT_EQ(summary.bytes_out(), static_cast<int64_t>(call.bytes().size()));
  EXPECT_FALSE(summary.audio_copied());
  ASSERT_EQ(summary.frame_notes_size(), 1);
  EXPECT_EQ(summary.frame_notes(0).frame(), 0);
  EXPECT_EQ(summary.frame_notes(0).note(), "no face found");
  ASSERT_EQ(summary.notes_size(), 1);
  EXPECT_EQ(summary.notes(0), "a note");
  EXPECT_EQ(engine_->num_extractions(), 0);
  ExpectNormalJobSucceeds();
}

TEST_F(ExtractionTest, TheEngineIsToldWhatWasAsked) {
  FakeEngine::Options options;
  MotionRequest seen;
  options.on_extract = [&seen](const MotionRequest& request) {
    seen = request;
    return absl::OkStatus();
  };
  StartServer(TestConfig(), options);
  ExtractCall call(*stub_);
  v1::ExtractMotionConfig config;
  config.mutable_driver_face()->mutable_position()->set_x(0.25);
  call.Send(config).SendChunk("a").HalfClose();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(seen.driver_face.by, FaceSelection::By::kPosition);
  EXPECT_EQ(seen.driver_face.x, 0.25);
  EXPECT_TRUE(seen.copy_audio);
}

TEST_F(ExtractionTest, RefusesMessagesThatAreOutOfPlace) {
  StartServer(TestConfig(), FakeEngine::Options{});
  const auto expect = [this](const std::function<void(ExtractCall&)>& send,
                             const std::string& message) {
    ExtractCall call(*stub_);
    send(call);
    EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, message));
  };
  expect([](ExtractCall& call) { call.HalfClose(); }, "config: the stream ended without it");
  expect([](ExtractCall& call) { call.SendChunk("a").HalfClose(); },
         "driving_chunk: came before config");
  expect([](ExtractCall& call) { call.Send().Send().HalfClose(); },
         "config: may be sent only once");
  expect([](ExtractCall& call) { call.Send().SendChunk("").HalfClose(); },
         "driving_chunk has 0 bytes, must have 1 or more");
  expect([](ExtractCall& call) { call.SendNothing().HalfClose(); },
         "payload: is not set, must be config (first) or driving_chunk");
  expect([](ExtractCall& call) { call.Send().HalfClose(); }, "no driving media was sent");
  expect(
      [](ExtractCall& call) {
        v1::ExtractMotionConfig config;
        config.mutable_driver_face()->set_index(64);
        call.Send(config).HalfClose();
      },
      "driver_face.index");
  ExpectNormalExtractionSucceeds();
}

TEST_F(ExtractionTest, ErrorsOfTheEngineReachTheCaller) {
  FakeEngine::Options options;
  std::atomic<int> kind{0};
  options.on_extract = [&kind](const MotionRequest&) -> absl::Status {
    if (kind == 1) return absl::FailedPreconditionError("driver_face.reference_image: no face");
    return absl::OkStatus();
  };
  options.on_read = [&kind](const MotionRequest&) -> absl::Status {
    if (kind == 2) return absl::InvalidArgumentError("driving video: it is none");
    if (kind == 3) return absl::UnknownError("/secret/path");
    return absl::OkStatus();
  };
  StartServer(TestConfig(), options);
  const auto run = [this] {
    ExtractCall call(*stub_);
    call.Send().SendChunk("a").HalfClose();
    return call.Finish();
  };
  kind = 1;
  EXPECT_THAT(run(), GrpcStatusIs(grpc::StatusCode::FAILED_PRECONDITION, "no face"));
  kind = 2;
  EXPECT_THAT(run(), GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, "driving video: it is none"));
  kind = 3;
  const grpc::Status internal = run();
  EXPECT_THAT(internal, GrpcStatusIs(grpc::StatusCode::INTERNAL, "its log says more"));
  EXPECT_THAT(internal.error_message(), ::testing::Not(HasSubstr("secret")));
  kind = 0;
  ExpectNormalExtractionSucceeds();
  EXPECT_EQ(engine_->num_extractions(), 0);
}

TEST_F(ExtractionTest, KeepsTheModelsLimit) {
  StartServer(TestConfig(), FakeEngine::Options{});
  ExtractCall call(*stub_);
  call.Send();
  for (int i = 0; i < 3; ++i) call.SendChunk(std::string(500'000, 'x'));
  call.HalfClose();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED, "too long"));
}

TEST_F(ExtractionTest, RefusesMoreThanItMayHold) {
  ServerConfig config = TestConfig();
  config.max_extractions = 1;
  StartServer(config, FakeEngine::Options{});
  ExtractCall first(*stub_);
  first.Send().SendChunk("a");
  // It is admitted once its engine's object is there.
  while (engine_->num_extractions() == 0) std::this_thread::yield();
  ExtractCall second(*stub_);
  second.Send().SendChunk("a").HalfClose();
  const grpc::Status refused = second.Finish();
  EXPECT_THAT(refused,
              GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED, "as many motions as it may (1)"));
  EXPECT_THAT(refused.error_details(), HasSubstr("google.rpc.RetryInfo"));
  first.HalfClose();
  EXPECT_THAT(first.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  ExpectNormalExtractionSucceeds();
}

TEST_F(ExtractionTest, ACallerWhoLeavesEndsIt) {
  FakeEngine::Options options;
  std::atomic<int> num_reads{0};
  options.on_read = [&](const MotionRequest&) {
    ++num_reads;
    return WaitAtGate();
  };
  // The caller knows before the server does.
  std::atomic<bool> server_knows{false};
  options.on_cancel_read = [&](const MotionRequest&) { server_knows = true; };
  StartServer(TestConfig(), options);
  {
    ExtractCall call(*stub_);
    call.Send().SendChunk(std::string(1000, 'x')).HalfClose();
    while (num_reads == 0) std::this_thread::yield();
    call.Cancel();
    EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::CANCELLED, ""));
  }
  while (!server_knows) std::this_thread::yield();
  gate_.Open();
  while (engine_->num_extractions() > 0) std::this_thread::yield();
  EXPECT_LT(num_reads, 10);
  ExpectNormalExtractionSucceeds();
}

TEST_F(ExtractionTest, ACallsDeadlineEndsIt) {
  FakeEngine::Options options;
  options.on_read = [&](const MotionRequest&) { return WaitAtGate(); };
  StartServer(TestConfig(), options);
  ExtractCall call(*stub_, absl::Milliseconds(200));
  call.Send().SendChunk("abc").HalfClose();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, ""));
  gate_.Open();
  while (engine_->num_extractions() > 0) std::this_thread::yield();
  ExpectNormalExtractionSucceeds();
}

TEST_F(ExtractionTest, ASilentCallerIsNotWaitedForForever) {
  ServerConfig config = TestConfig();
  config.receive_timeout = absl::Milliseconds(100);
  StartServer(config, FakeEngine::Options{});
  ExtractCall call(*stub_);
  call.Send().SendChunk("a");
  EXPECT_THAT(call.Finish(),
              GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, "no driving media came for 100ms"));
}

TEST_F(ExtractionTest, ItsTimeIsBoundedWhateverTheCallAllows) {
  ServerConfig config = TestConfig();
  config.max_job_duration = absl::Milliseconds(300);
  FakeEngine::Options options;
  options.on_read = [&](const MotionRequest&) { return absl::OkStatus(); };
  StartServer(config, options);
  ExtractCall call(*stub_);
  call.Send().SendChunk("a");
  EXPECT_THAT(call.Finish(),
              GrpcStatusIs(grpc::StatusCode::DEADLINE_EXCEEDED, "the extraction's time is over"));
}

TEST_F(ExtractionTest, JobsDoNotWaitForIt) {
  FakeEngine::Options options;
  std::atomic<bool> waits{false};
  options.on_read = [&](const MotionRequest&) {
    waits = true;
    return WaitAtGate();
  };
  StartServer(TestConfig(), options);
  ExtractCall call(*stub_);
  call.Send().SendChunk("abc").HalfClose();
  while (!waits) std::this_thread::yield();
  ExpectNormalJobSucceeds();
  gate_.Open();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
}

TEST_F(ExtractionTest, ItDoesNotWaitForJobs) {
  FakeEngine::Options options;
  options.on_step = [&](const JobRequest&, int64_t) { return WaitAtGate(); };
  StartServer(TestConfig(), options);
  TestCall job(*stub_);
  job.Send(testing::PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(1));
  ExpectNormalExtractionSucceeds();
  gate_.Open();
  EXPECT_THAT(job.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
}

TEST_F(ExtractionTest, ALongOneDoesNotHoldUpAShortOne) {
  FakeEngine::Options options;
  std::atomic<int64_t> num_reads{0};
  options.on_read = [&](const MotionRequest&) {
    ++num_reads;
    return absl::OkStatus();
  };
  StartServer(TestConfig(), options);  // one thread
  ExtractCall longer(*stub_);
  longer.Send().SendChunk(std::string(1'000'000, 'x')).HalfClose();
  while (num_reads < 100) std::this_thread::yield();
  ExpectNormalExtractionSucceeds();
  EXPECT_LT(num_reads, 1'000'000);
  longer.Cancel();
  longer.Finish();
}

TEST_F(ExtractionTest, ASlowReaderStopsTheReading) {
  ServerConfig config = TestConfig();
  config.max_outbox_bytes = 1 << 20;
  FakeEngine::Options options;
  options.bytes_per_frame = 100'000;
  std::atomic<int64_t> num_reads{0};
  options.on_read = [&](const MotionRequest&) {
    ++num_reads;
    return absl::OkStatus();
  };
  StartServer(config, options);
  ExtractCall slow(*stub_);
  constexpr int kFrames = 2000;  // 200 MB
  slow.Send().SendChunk(std::string(kFrames, 'x')).HalfClose();
  ASSERT_TRUE(slow.Read());
  // Others are served, time passes; gRPC's own buffers take what they take.
  for (int i = 0; i < 20; ++i) ExpectNormalExtractionSucceeds();
  EXPECT_LT(num_reads, kFrames);
  EXPECT_THAT(slow.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_EQ(slow.bytes().size(), size_t{kFrames} * 100'000);
  EXPECT_LE(slow.largest_chunk(), size_t{256} << 10);
}

TEST_F(ExtractionTest, DrainingRefusesNewOnesAndEndsTheRest) {
  ServerConfig config = TestConfig();
  config.drain_timeout = absl::Milliseconds(100);
  StartServer(config, FakeEngine::Options{});
  ExtractCall waiting(*stub_);
  waiting.Send().SendChunk("a");
  while (engine_->num_extractions() == 0) std::this_thread::yield();
  server_->Drain();
  ExtractCall late(*stub_);
  late.Send().SendChunk("a").HalfClose();
  EXPECT_THAT(late.Finish(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, ""));
  EXPECT_THAT(waiting.Finish(),
              GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, "the server is shutting down"));
}

TEST_F(ExtractionTest, IsUnavailableWhileTheModelLoads) {
  StartServer(TestConfig(), [this]() -> absl::StatusOr<std::unique_ptr<Engine>> {
    gate_.Await();
    return std::make_unique<FakeEngine>();
  });
  ExtractCall call(*stub_);
  call.Send().HalfClose();
  EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, "still loading"));
}

// Turn by turn, on this thread.
class Turns : public ::testing::Test {
 protected:
  class Ear : public ExtractionRunner::Listener {
   public:
    void OnExtractionChanged() override { ++num_changes; }
    int num_changes = 0;
  };

  std::shared_ptr<ExtractionRunner::Extraction> Admit() {
    auto admitted = runner_.Admit({}, "tenant", absl::InfiniteFuture(), ear_);
    EXPECT_THAT(admitted, IsOk());
    return admitted.ok() ? *admitted : nullptr;
  }

  static ServerConfig Config() {
    ServerConfig config;
    config.max_inbox_bytes = 1000;
    config.max_outbox_bytes = 100;
    config.receive_timeout = absl::Minutes(1);
    return config;
  }
  // Stands still; what looks at it may find that something else happens just then.
  struct LookedAtClock final : Clock {
    absl::Time TimeNow() override {
      if (const auto look = std::exchange(on_look, nullptr)) look();
      return clock.TimeNow();
    }
    bool AwaitWithDeadline(Mutex* mu, const absl::Condition& condition,
                           absl::Time deadline) override {
      return clock.AwaitWithDeadline(mu, condition, deadline);
    }
    std::function<void()> on_look;
    FakeClock clock;
  };
  FakeEngine::Options Hooks() {
    FakeEngine::Options options;
    options.on_read = [this](const MotionRequest&) { return on_read_ ? on_read_() : OkStatus(); };
    options.on_extraction_gone = [this](const MotionRequest&) {
      if (on_gone_) on_gone_();
    };
    return options;
  }
  static absl::Status OkStatus() { return absl::OkStatus(); }

  std::function<absl::Status()> on_read_;
  std::function<void()> on_gone_;
  LookedAtClock clock_;
  FakeEngine engine_{Hooks()};
  Metrics metrics_;
  ExtractionRunner runner_{Config(), engine_, clock_, metrics_, /*num_threads=*/0};
  std::shared_ptr<Ear> ear_ = std::make_shared<Ear>();
};

TEST_F(Turns, TheInboxIsBounded) {
  const auto extraction = Admit();
  EXPECT_TRUE(runner_.WantsInput(extraction));
  runner_.PushInput(extraction, std::string(999, 'x'));  // and its overhead
  EXPECT_FALSE(runner_.WantsInput(extraction));
  EXPECT_TRUE(runner_.RunTurn());  // makes the engine's object
  EXPECT_FALSE(runner_.WantsInput(extraction));
  EXPECT_TRUE(runner_.RunTurn());  // takes the input
  EXPECT_TRUE(runner_.WantsInput(extraction));
  EXPECT_FALSE(runner_.RunTurn());
  EXPECT_EQ(ear_->num_changes, 2);
  runner_.FinishInput(extraction);
  EXPECT_FALSE(runner_.WantsInput(extraction));
  runner_.End(extraction, absl::CancelledError("enough"));
  EXPECT_EQ(engine_.num_extractions(), 0);
  EXPECT_THAT(engine_.violations(), IsEmpty());
}

TEST_F(Turns, TheOutboxIsBounded) {
  const auto extraction = Admit();
  runner_.PushInput(extraction, std::string(50, 'x'));
  runner_.FinishInput(extraction);
  int num_turns = 0;
  while (runner_.RunTurn()) ++num_turns;
  EXPECT_EQ(num_turns, 1 + 10);  // 10 bytes a frame
  auto answer = runner_.NextAnswer(extraction);
  EXPECT_EQ(answer.next, ExtractionRunner::Next::kAnswer);
  EXPECT_EQ(answer.response.template_chunk().size(), 100u);
  EXPECT_TRUE(runner_.RunTurn());
  std::string rest;
  while (true) {
    while (runner_.RunTurn()) {
    }
    answer = runner_.NextAnswer(extraction);
    if (answer.response.has_summary()) break;
    ASSERT_EQ(answer.next, ExtractionRunner::Next::kAnswer);
    rest += answer.response.template_chunk();
  }
  EXPECT_THAT(rest, HasSubstr("motion 49;"));
  EXPECT_EQ(answer.response.summary().frames(), 50);
  answer = runner_.NextAnswer(extraction);
  EXPECT_EQ(answer.next, ExtractionRunner::Next::kEnded);
  EXPECT_THAT(answer.status, IsOk());
  EXPECT_TRUE(runner_.AwaitIdle(absl::InfinitePast()));
}

TEST_F(Turns, AnEndTakesWhatIsUnsent) {
  const auto extraction = Admit();
  runner_.PushInput(extraction, "xyz");
  runner_.FinishInput(extraction);
  runner_.RunTurn();
  runner_.RunTurn();
  runner_.End(extraction, absl::CancelledError("enough"));
  runner_.End(extraction, absl::InternalError("too late"));
  const auto answer = runner_.NextAnswer(extraction);
  EXPECT_EQ(answer.next, ExtractionRunner::Next::kEnded);
  EXPECT_EQ(answer.status, absl::CancelledError("enough"));
  EXPECT_FALSE(runner_.RunTurn() && runner_.RunTurn());
  EXPECT_EQ(engine_.num_extractions(), 0);
}

TEST_F(Turns, AnEndIsSeenWhenTheEnginesObjectIsGone) {
  for (const bool fails : {false, true}) {
    const auto extraction = Admit();
    int num_looks = 0;
    on_gone_ = [&] {
      EXPECT_EQ(runner_.NextAnswer(extraction).next, ExtractionRunner::Next::kNothing);
      ++num_looks;
    };
    on_read_ = [fails] { return fails ? absl::InternalError("broken") : absl::OkStatus(); };
    runner_.PushInput(extraction, "x");
    runner_.FinishInput(extraction);
    while (runner_.RunTurn()) {
    }

    EXPECT_EQ(num_looks, 1);
    EXPECT_EQ(runner_.AwaitIdle(absl::InfinitePast()), fails) << "a template is still to be sent";
    EXPECT_EQ(runner_.NextAnswer(extraction).next,
              fails ? ExtractionRunner::Next::kEnded : ExtractionRunner::Next::kAnswer);
    runner_.End(extraction, absl::CancelledError("enough"));
    on_gone_ = nullptr;
  }
}

TEST_F(Turns, WhoHasTheSummaryIsToldOfSuccess) {
  const auto extraction = Admit();
  runner_.PushInput(extraction, "x");
  runner_.FinishInput(extraction);
  while (runner_.RunTurn()) {
  }
  EXPECT_TRUE(runner_.NextAnswer(extraction).response.has_template_chunk());
  // As from another thread, while the summary is being taken.
  clock_.on_look = [this] {
    runner_.EndAll(absl::UnavailableError("the server is shutting down"));
  };
  EXPECT_TRUE(runner_.NextAnswer(extraction).response.has_summary());

  const auto answer = runner_.NextAnswer(extraction);

  EXPECT_EQ(answer.next, ExtractionRunner::Next::kEnded);
  EXPECT_THAT(answer.status, IsOk());
}

TEST_F(Turns, ACallerWhoCannotSendIsNotSilent) {
  const auto extraction = Admit();
  runner_.PushInput(extraction, std::string(999, 'x'));
  EXPECT_FALSE(runner_.WantsInput(extraction));

  // It takes its time until the input is read; only then can the caller go on.
  clock_.clock.Advance(absl::Minutes(2));
  runner_.EndOverdue();
  while (runner_.RunTurn()) {
  }
  EXPECT_TRUE(runner_.WantsInput(extraction));
  clock_.clock.Advance(absl::Seconds(59));
  runner_.EndOverdue();
  EXPECT_EQ(runner_.NextAnswer(extraction).next, ExtractionRunner::Next::kNothing);

  clock_.clock.Advance(absl::Seconds(1));
  runner_.EndOverdue();
  const auto answer = runner_.NextAnswer(extraction);
  EXPECT_EQ(answer.next, ExtractionRunner::Next::kEnded);
  EXPECT_THAT(answer.status, testing::StatusIs(absl::StatusCode::kDeadlineExceeded, "no driving"));
}

TEST_F(Turns, TakesTurns) {
  const auto first = Admit(), second = Admit();
  for (const auto& extraction : {first, second}) {
    runner_.PushInput(extraction, "xyz");
    runner_.FinishInput(extraction);
  }
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(runner_.RunTurn());
  EXPECT_EQ(runner_.NextAnswer(first).response.template_chunk(), "motion 0;.");
  EXPECT_EQ(runner_.NextAnswer(second).response.template_chunk(), "motion 0;.");
}

// Two threads take the turns of many extractions while each second one is ended just when its first
// turn comes. A turn was once begun under one lock and got its input under the next one: an end
// between the two left it with neither a request nor an object of the engine's. An object that
// could not be made did the same to the turn after it.
TEST(ExtractionThreadsTest, AnEndMayComeAtAnyMoment) {
  constexpr absl::Duration kTime = absl::Seconds(1);
  constexpr int kNumExtractions = 64;         // at a time
  constexpr int kMaxDelay = 400;              // turns of a loop: about as long as a turn takes
  ASSERT_THAT(SetLogLevel("error"), IsOk());  // else each of the many would be logged
  std::atomic<int> newest{-1};                // of those whose first turn has begun
  FakeEngine::Options options;
  options.on_extract = [&newest](const MotionRequest& request) {
    newest = request.driver_face.index;
    return request.driver_face.index == kNumExtractions - 1 ? absl::InternalError("no object")
                                                            : absl::OkStatus();
  };
  FakeEngine engine(options);
  Metrics metrics;
  ServerConfig config;
  config.max_extractions = kNumExtractions;
  {
    ExtractionRunner runner(config, engine, Clock::Real(), metrics, /*num_threads=*/2);
    const absl::Time until = absl::Now() + kTime;
    for (int round = 0; round == 0 || absl::Now() < until; ++round) {
      newest = -1;
      std::vector<std::shared_ptr<ExtractionRunner::Extraction>> extractions;
      for (int i = 0; i < kNumExtractions; ++i) {
        MotionRequest request;
        request.driver_face.index = i;
        auto admitted = runner.Admit(request, "", absl::InfiniteFuture(), {});
        ASSERT_THAT(admitted, IsOk());
        runner.PushInput(*admitted, "x");
        extractions.push_back(*std::move(admitted));
      }
      for (int i = 1; i < kNumExtractions - 1; i += 2) {
        // Those before it may have had their turn long ago.
        for (int look = 0; look < 100'000 && newest < i - 1; ++look) std::this_thread::yield();
        std::atomic<int> delay{(round * 31 + i) * 7919 % kMaxDelay};
        while (delay > 0) --delay;
        runner.End(extractions[i], absl::CancelledError("enough"));
        EXPECT_EQ(runner.NextAnswer(extractions[i]).next, ExtractionRunner::Next::kEnded);
      }
      for (const auto& extraction : extractions) {
        runner.End(extraction, absl::CancelledError("enough"));
      }
      ASSERT_TRUE(runner.AwaitIdle(absl::Now() + kTestTimeout));
      EXPECT_EQ(engine.num_extractions(), 0);
    }
  }
  EXPECT_THAT(engine.violations(), IsEmpty());
  ASSERT_THAT(SetLogLevel("info"), IsOk());
}

}  // namespace
}  // namespace reenact
