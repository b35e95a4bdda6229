// The job alone: state, inbox, outbox, and the life of the engine's object.
#include "server/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_engine.h"
#include "tests/server/status_is.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;
using testing::FakeEngine;
using testing::StatusIs;

using Preparation = EngineJob::Preparation;

constexpr absl::Time kStart = absl::FromUnixSeconds(1'000'000'000);

class JobTest : public ::testing::Test {
 protected:
  static JobRequest Request() {
    JobRequest request;
    request.job_id = "id";
    request.model = "fake";
    return request;
  }

  // The engine's object, ready for its first step.
  void Prepare() {
    job_.SetEngineJob(*engine_.CreateJob(Request()));
    const Job::EngineUse engine_job(job_);
    ASSERT_TRUE(engine_job->AddDriving("x").ok());
    ASSERT_TRUE(engine_job->FinishDriving().ok());
    ASSERT_TRUE(engine_job->Prepare().ok());
    job_.SetPlan(engine_job->plan());
    ASSERT_TRUE(job_.MoveTo(JobState::kPreparing, kStart));
    ASSERT_TRUE(job_.MoveTo(JobState::kWaiting, kStart));
    ASSERT_TRUE(job_.MoveTo(JobState::kRunning, kStart));
  }

  static std::vector<Output> Media(size_t num_bytes, int num_frames = 1) {
    Output output;
    output.data = std::string(num_bytes, 'x');
    output.num_frames = num_frames;
    return {output};
  }

  FakeEngine engine_;
  Job job_{Request(),
           {.max_inbox_bytes = 2 * (5 + Job::kPieceOverheadBytes),
            .max_outbox_bytes = 100,
            .receive_timeout = absl::Minutes(1)},
           kStart,
           kStart + absl::Hours(1),
           {}};
};

TEST_F(JobTest, EndsExactlyOnce) {
  EXPECT_TRUE(job_.End(absl::InvalidArgumentError("first"), kStart));

  EXPECT_FALSE(job_.End(absl::CancelledError("second"), kStart));
  EXPECT_FALSE(job_.MoveTo(JobState::kPreparing, kStart));
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.NextAnswer().next, Job::Next::kEnded);
  EXPECT_THAT(job_.NextAnswer().status, StatusIs(absl::StatusCode::kInvalidArgument, "first"));
}

TEST_F(JobTest, CannotSucceedBeforeItRuns) {
  EXPECT_FALSE(job_.End(absl::OkStatus(), kStart));
  EXPECT_EQ(job_.state(), JobState::kReceiving);
}

TEST_F(JobTest, AnOlderPlanIsIgnored) {
  // Preparation and the scheduler tell the plan, each as it last saw it.
  const JobPlan older = {.num_frames = 4, .num_rows = 1, .total_steps = 3};
  const JobPlan fewer_rows = {.num_frames = 8, .num_rows = 2, .total_steps = 6};
  const JobPlan complete = {.num_frames = 6, .num_rows = 2, .total_steps = 6, .complete = true};
  job_.SetPlan({.num_frames = 8, .num_rows = 3, .total_steps = 9});

  job_.SetPlan(older);
  EXPECT_EQ(job_.plan().num_frames, 8);
  job_.SetPlan(fewer_rows);
  EXPECT_EQ(job_.plan().num_rows, 2) << "frames of a camera may be left out";
  job_.SetPlan(complete);
  EXPECT_EQ(job_.plan().num_frames, 6) << "the file had promised more";
  job_.SetPlan(fewer_rows);
  EXPECT_TRUE(job_.plan().complete);
}

TEST_F(JobTest, TheFirstRequestToEndCounts) {
  EXPECT_TRUE(job_.requested_end().ok());
  job_.RequestEnd(absl::CancelledError("a"));
  job_.RequestEnd(absl::InternalError("b"));

  EXPECT_THAT(job_.requested_end(), StatusIs(absl::StatusCode::kCancelled, "a"));
  EXPECT_EQ(job_.state(), JobState::kReceiving);
}

TEST_F(JobTest, EngineObjectDiesWithTheJobOnceNobodyIsInside) {
  job_.SetEngineJob(*engine_.CreateJob(Request()));
  {
    const Job::EngineUse inside(job_);
    job_.End(absl::CancelledError(""), kStart);

    EXPECT_NE(inside.get(), nullptr);
    EXPECT_EQ(engine_.num_alive(), 1);
    EXPECT_EQ(Job::EngineUse(job_).get(), nullptr);
  }
  EXPECT_EQ(engine_.num_alive(), 0);
}

TEST_F(JobTest, EngineObjectThatComesTooLateDiesAtOnce) {
  job_.End(absl::CancelledError(""), kStart);
  job_.SetEngineJob(*engine_.CreateJob(Request()));

  EXPECT_EQ(engine_.num_alive(), 0);
}

TEST_F(JobTest, InboxStopsReadingWhenFullAndGoesOnWhenTaken) {
  EXPECT_TRUE(job_.PushInput("12345"));
  EXPECT_TRUE(job_.wants_input());
  EXPECT_FALSE(job_.PushInput("67890")) << "a preparation turn is already scheduled";
  EXPECT_FALSE(job_.wants_input());

  const Job::Input input = job_.TakeInput();

  EXPECT_THAT(input.chunks, ElementsAre("12345", "67890"));
  EXPECT_FALSE(input.finished);
  EXPECT_TRUE(job_.wants_input());
  EXPECT_EQ(job_.received_bytes(), 10);
  EXPECT_FALSE(job_.EndPreparationTurn(Preparation::kNeedsInput));
}

TEST_F(JobTest, InputThatComesDuringAPreparationTurnAsksForAnother) {
  job_.PushInput("a");
  job_.TakeInput();
  EXPECT_FALSE(job_.FinishInput()) << "the running turn will see it";

  EXPECT_TRUE(job_.EndPreparationTurn(Preparation::kNeedsInput));
  EXPECT_TRUE(job_.TakeInput().finished);
  EXPECT_FALSE(job_.TakeInput().finished) << "reported once";
  EXPECT_FALSE(job_.EndPreparationTurn(Preparation::kDone));
}

TEST_F(JobTest, InputWaitsInTheInboxUntilTheEngineAsksForIt) {
  job_.PushInput("a");
  job_.TakeInput();
  EXPECT_FALSE(job_.PushInput("b"));

  EXPECT_TRUE(job_.EndPreparationTurn(Preparation::kMore)) << "there is more to do";
  EXPECT_FALSE(job_.TakeInput().has_media()) << "it has not read what it has";
  EXPECT_TRUE(job_.preparation_due());
  EXPECT_TRUE(job_.EndPreparationTurn(Preparation::kNeedsInput)) << "and here it is";
  EXPECT_FALSE(job_.preparation_due());
  EXPECT_THAT(job_.TakeInput().chunks, ElementsAre("b"));
  EXPECT_FALSE(job_.EndPreparationTurn(Preparation::kNeedsInput));
  EXPECT_TRUE(job_.PushInput("c"));
}

TEST_F(JobTest, PreparationThatIsAheadGoesOnAfterAStep) {
  job_.PushInput("a");
  job_.TakeInput();
  EXPECT_FALSE(job_.EndPreparationTurn(Preparation::kAhead));

  EXPECT_FALSE(job_.PushInput("b")) << "input is no reason";
  EXPECT_FALSE(job_.FinishInput());
  job_.NoteStep(1, false, kStart);
  EXPECT_TRUE(job_.ResumePreparation());
  EXPECT_FALSE(job_.ResumePreparation()) << "scheduled already";

  EXPECT_FALSE(job_.TakeInput().has_media());
  job_.NoteStep(2, false, kStart);
  EXPECT_FALSE(job_.ResumePreparation()) << "a turn is under way";
  EXPECT_TRUE(job_.EndPreparationTurn(Preparation::kAhead)) << "which may have missed the step";
  EXPECT_TRUE(job_.EndPreparationTurn(Preparation::kNeedsInput));
  const Job::Input input = job_.TakeInput();
  EXPECT_THAT(input.chunks, ElementsAre("b"));
  EXPECT_TRUE(input.finished);
  EXPECT_FALSE(job_.EndPreparationTurn(Preparation::kDone));
  EXPECT_FALSE(job_.ResumePreparation());
}

TEST_F(JobTest, LiveFramesFillTheInboxToo) {
  EXPECT_TRUE(job_.PushFrame({.image = "12345", .pts = 1, .arrived = kStart}));
  EXPECT_TRUE(job_.wants_input());
  EXPECT_FALSE(job_.PushFrame({.image = "67890", .pts = 2, .arrived = kStart}));
  EXPECT_FALSE(job_.wants_input());
  EXPECT_EQ(job_.deadline(), kStart + absl::Hours(1)) << "nothing is awaited from the caller";

  const Job::Input input = job_.TakeInput();
  ASSERT_EQ(input.frames.size(), 2u);
  EXPECT_EQ(input.frames[1].image, "67890");
  EXPECT_EQ(input.frames[1].pts, 2);
  EXPECT_EQ(job_.deadline(), kStart + absl::Minutes(1));
}

TEST_F(JobTest, JobMayBeginWhileItReceives) {
  EXPECT_TRUE(job_.MoveTo(JobState::kWaiting, kStart));
  EXPECT_FALSE(job_.MoveTo(JobState::kPreparing, kStart)) << "it is further than that";
  EXPECT_TRUE(job_.MoveTo(JobState::kRunning, kStart));
  EXPECT_TRUE(job_.wants_input());
  EXPECT_EQ(job_.Snapshot().state(), v1::JOB_STATE_RUNNING);
}

TEST_F(JobTest, JobIsDenoisedOnceAndForAll) {
  Prepare();
  job_.NoteStep(6, false, kStart);
  job_.NoteDenoised();
  // Of a thread that looked before.
  job_.NoteStep(6, false, kStart);

  EXPECT_TRUE(job_.denoised());
  EXPECT_EQ(job_.Snapshot().progress().stage(), v1::STAGE_RENDERING);
}

TEST_F(JobTest, RenderTurnsAreNeverLostAndNeverDouble) {
  EXPECT_TRUE(job_.RequestRender());
  EXPECT_FALSE(job_.RequestRender()) << "scheduled already";
  job_.BeginRenderTurn();
  EXPECT_FALSE(job_.EndRenderTurn());

  EXPECT_TRUE(job_.RequestRender());
  job_.BeginRenderTurn();
  EXPECT_FALSE(job_.RequestRender());
  EXPECT_TRUE(job_.EndRenderTurn()) << "asked for during the turn";
}

TEST_F(JobTest, AnswersComeInOrderWithProgressBetween) {
  job_.PushAccepted(3);
  Prepare();
  EXPECT_TRUE(job_.PushOutputs(Media(10), 1)) << "the first frame";
  EXPECT_FALSE(job_.PushOutputs(Media(10), 2));

  std::vector<v1::ReenactResponse::PayloadCase> kinds;
  for (Job::Answer answer = job_.NextAnswer(); answer.next == Job::Next::kAnswer;
       answer = job_.NextAnswer()) {
    EXPECT_EQ(answer.response.sequence_number(), kinds.size());
    kinds.push_back(answer.response.payload_case());
  }
  EXPECT_THAT(kinds, ElementsAre(v1::ReenactResponse::kAccepted, v1::ReenactResponse::kProgress,
                                 v1::ReenactResponse::kVideo, v1::ReenactResponse::kVideo));
}

TEST_F(JobTest, ProgressDoesNotHoldUpMediaOfAFastJob) {
  job_.PushAccepted(0);
  Prepare();
  job_.NextAnswer();  // accepted
  job_.PushOutputs(Media(10), 1);

  job_.NoteStep(1, false, kStart + absl::Seconds(1));
  EXPECT_TRUE(job_.NextAnswer().response.has_progress());
  job_.NoteStep(2, false, kStart + absl::Seconds(2));
  EXPECT_TRUE(job_.NextAnswer().response.has_video());
  const v1::Progress progress = job_.NextAnswer().response.progress();

  // 8 frames in passes of 4, 3 steps each: 6 steps; 2 of them took 2 s.
  EXPECT_EQ(progress.stage(), v1::STAGE_DENOISING);
  EXPECT_EQ(progress.step(), 2);
  EXPECT_EQ(progress.total_steps(), 6);
  EXPECT_EQ(progress.frames_done(), 1);
  EXPECT_EQ(progress.frames_total(), 8);
  EXPECT_EQ(progress.estimated_time_left().seconds(), 4);
}

TEST_F(JobTest, OutboxIsFullByBytesAndSaysWhenThereIsRoomAgain) {
  job_.PushAccepted(0);
  Prepare();
  job_.PushOutputs(Media(99), 1);
  EXPECT_FALSE(job_.outbox_full());
  job_.PushOutputs(Media(50), 2);
  EXPECT_TRUE(job_.outbox_full());

  std::vector<std::pair<bool, bool>> media_and_room;
  for (Job::Answer answer = job_.NextAnswer(); answer.next == Job::Next::kAnswer;
       answer = job_.NextAnswer()) {
    media_and_room.emplace_back(answer.response.has_video(), answer.made_room);
  }

  // accepted, progress, 99 bytes (50 are left), 50 bytes.
  EXPECT_THAT(media_and_room, ElementsAre(std::pair(false, false), std::pair(false, false),
                                          std::pair(true, true), std::pair(true, false)));
  EXPECT_FALSE(job_.outbox_full());
}

TEST_F(JobTest, APosterTakesItsRoomUntilItIsSent) {
  job_.PushAccepted(0);
  Prepare();
  Output poster;
  poster.kind = Output::Kind::kPoster;
  poster.data = std::string(149, 'p');
  EXPECT_FALSE(job_.PushOutputs({poster}, 0)) << "it is no frame";
  EXPECT_TRUE(job_.outbox_full());

  std::vector<std::pair<bool, bool>> poster_and_room;
  for (Job::Answer answer = job_.NextAnswer(); answer.next == Job::Next::kAnswer;
       answer = job_.NextAnswer()) {
    poster_and_room.emplace_back(answer.response.has_poster(), answer.made_room);
  }
  EXPECT_THAT(poster_and_room,
              ElementsAre(std::pair(false, false), std::pair(false, false), std::pair(true, true)));
  EXPECT_FALSE(job_.outbox_full());
}

TEST_F(JobTest, SummaryIsLastAndFreesTheEngineObject) {
  job_.PushAccepted(0);
  Prepare();
  job_.PushOutputs(Media(10), 8);
  JobSummary summary;
  summary.frames_in = summary.frames_out = 8;

  job_.PushSummary(summary, {.num_rows = 3, .num_padding_slots = 4}, kStart + absl::Seconds(3));

  EXPECT_EQ(engine_.num_alive(), 0);
  v1::ReenactResponse last;
  for (Job::Answer answer = job_.NextAnswer(); answer.next == Job::Next::kAnswer;
       answer = job_.NextAnswer()) {
    EXPECT_EQ(answer.last, answer.response.has_summary());
    last = answer.response;
  }
  ASSERT_TRUE(last.has_summary());
  EXPECT_EQ(last.summary().job_id(), "id");
  EXPECT_EQ(last.summary().rows(), 3);
  EXPECT_EQ(last.summary().padding_slots(), 4);
  EXPECT_EQ(last.summary().bytes_out(), 10);
  EXPECT_EQ(last.summary().stage_times().total().seconds(), 3);
  EXPECT_TRUE(job_.End(absl::OkStatus(), kStart));
  EXPECT_EQ(job_.state(), JobState::kSucceeded);
}

TEST_F(JobTest, SnapshotTellsHowItEnded) {
  job_.End(absl::DeadlineExceededError("too late"), kStart + absl::Seconds(5));

  const v1::Job snapshot = job_.Snapshot();

  EXPECT_EQ(snapshot.state(), v1::JOB_STATE_EXPIRED);
  EXPECT_EQ(snapshot.error_code(), 4);
  EXPECT_EQ(snapshot.error_message(), "too late");
  EXPECT_EQ(snapshot.end_time().seconds() - snapshot.create_time().seconds(), 5);
}

}  // namespace
}  // namespace reenact
