// The client library against a fake service over a Unix socket, and against a fake server process.
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/tool/server_process.h"
#include "tests/client/fake_service.h"
#include "tests/client/subprocess.h"
#include "tests/fakes/gate.h"

namespace reenact {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;

// What a job said until its end.
struct Outcome {
  absl::Status status;
  std::string video;
  int num_progress = 0;
  int num_frames = 0;
  bool accepted = false;
  bool summary = false;
};

Outcome ReadAll(JobStream& job) {
  Outcome outcome;
  while (true) {
    auto next = job.Next();
    outcome.status = next.status();
    if (!next.ok() || !next->has_value()) return outcome;
    outcome.accepted |= (*next)->has_accepted();
    outcome.summary |= (*next)->has_summary();
    outcome.num_progress += (*next)->has_progress() ? 1 : 0;
    outcome.num_frames += (*next)->has_frame() ? 1 : 0;
    outcome.video += (*next)->video().data();
  }
}

v1::JobConfig ConfigFor(const std::string& model) {
  v1::JobConfig config;
  config.set_model(model);
  config.mutable_source()->set_text("a man");
  return config;
}

// Bytes that tell their place, so that a lost, doubled or swapped chunk is seen.
std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
}

// Counts what is read from it and never ends.
class EndlessSource : public MediaSource {
 public:
  explicit EndlessSource(std::atomic<int64_t>& bytes) : bytes_(bytes) {}
  absl::Status Read(size_t max_bytes, std::string& chunk) override {
    chunk.assign(max_bytes, 'x');
    bytes_ += static_cast<int64_t>(max_bytes);
    return absl::OkStatus();
  }

 private:
  std::atomic<int64_t>& bytes_;
};

// Breaks after its first chunk, once the gate is open.
class BrokenSource : public MediaSource {
 public:
  explicit BrokenSource(testing::Gate& gate) : gate_(gate) {}

  absl::Status Read(size_t max_bytes, std::string& chunk) override {
    if (reads_++ > 0) {
      EXPECT_TRUE(gate_.Await());
      return absl::DataLossError("the disk is broken");
    }
    chunk.assign(max_bytes, 'x');
    return absl::OkStatus();
  }

 private:
  testing::Gate& gate_;
  int reads_ = 0;
};

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = testing::StartFakeServer(service_, target_);
    ASSERT_NE(server_, nullptr);
    auto client = Client::Connect(target_, {});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = std::move(*client);
  }
  void TearDown() override {
    client_.reset();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  testing::TemporaryFolder folder_;
  const std::string target_ = "unix:" + folder_.File("server.sock");
  testing::FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, BytesComeBackInOrder) {
  const std::string bytes = Pattern(3'000'001);
  JobOptions options;
  options.chunk_bytes = 100'000;

  auto job = client_->Start(ConfigFor("echo"), MediaFromBytes(bytes), options);
  const Outcome outcome = ReadAll(*job);

  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_TRUE(outcome.accepted);
  EXPECT_TRUE(outcome.summary);
  EXPECT_EQ(outcome.video, bytes);
  EXPECT_EQ(service_.config().model(), "echo");
}

TEST_F(ClientTest, BigFileIsSentInChunks) {
  const std::string path = folder_.File("big.mp4");
  const std::string bytes = Pattern(20'000'000);
  std::ofstream(path, std::ios::binary) << bytes;

  auto source = OpenMediaFile(path);
  ASSERT_TRUE(source.ok()) << source.status();
  auto job = client_->Start(ConfigFor("echo"), std::move(*source), {});
  const Outcome outcome = ReadAll(*job);

  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.video, bytes);
  const std::vector<size_t> sizes = service_.chunk_sizes();
  EXPECT_THAT(sizes, Each(AllOf(Ge(1u), Le(JobOptions().chunk_bytes))));
  EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), size_t{0}), bytes.size());
}

TEST_F(ClientTest, SourceIsReadNoFasterThanTheServerTakes) {
  std::atomic<int64_t> bytes = 0;
  auto job = client_->Start(ConfigFor("flood:3000"), std::make_unique<EndlessSource>(bytes), {});

  // The server never reads a chunk. While 3000 answers come, an unbounded sender would read
  // gigabytes.
  for (int i = 0; i < 3000; ++i) {
    auto next = job->Next();
    ASSERT_TRUE(next.ok() && next->has_value()) << next.status();
  }

  EXPECT_LE(bytes, 16 << 20);
}

TEST_F(ClientTest, EmptyMediaIsSentAsNoChunk) {
  auto job = client_->Start(ConfigFor("echo"), MediaFromBytes(""), {});

  EXPECT_TRUE(ReadAll(*job).summary);

  EXPECT_THAT(service_.chunk_sizes(), IsEmpty());
}

TEST_F(ClientTest, CallerMaySendPiecesWhileAnotherThreadReads) {
  auto job = client_->Start(ConfigFor("echo"), JobOptions{.chunk_bytes = 1000});
  const std::string bytes = Pattern(500'000);

  std::thread sender([&] {
    EXPECT_TRUE(job->Send(std::string_view(bytes).substr(0, 123'456)));
    EXPECT_TRUE(job->Send(std::string_view(bytes).substr(123'456)));
    EXPECT_TRUE(job->FinishSending());
  });
  const Outcome outcome = ReadAll(*job);
  sender.join();

  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.video, bytes);
}

TEST_F(ClientTest, ErrorKeepsCodeAndMessage) {
  auto job = client_->Start(ConfigFor("fail:9:no face in the source"), MediaFromBytes("x"), {});

  const Outcome outcome = ReadAll(*job);

  EXPECT_EQ(outcome.status, absl::FailedPreconditionError("no face in the source"));
  EXPECT_TRUE(outcome.accepted);
  EXPECT_EQ(outcome.video, "half");
  EXPECT_EQ(RetryDelay(outcome.status), std::nullopt);
  // It repeats its end.
  EXPECT_EQ(job->Next().status(), outcome.status);
}

TEST_F(ClientTest, FullQueueSaysWhenToTryAgain) {
  auto job = client_->Start(ConfigFor("full"), MediaFromBytes("x"), {});

  const Outcome outcome = ReadAll(*job);

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(outcome.status.message(), "the queue is full");
  EXPECT_EQ(RetryDelay(outcome.status), absl::Milliseconds(2500));
}

TEST_F(ClientTest, SendingFailsOnceTheCallIsOver) {
  auto job = client_->Start(ConfigFor("reject:3:num_steps is 0"), JobOptions{});
  EXPECT_EQ(ReadAll(*job).status, absl::InvalidArgumentError("num_steps is 0"));

  EXPECT_FALSE(job->Send("more"));
  EXPECT_FALSE(job->FinishSending());
}

TEST_F(ClientTest, CancelEndsTheJobOnBothSides) {
  auto job = client_->Start(ConfigFor("hang"), MediaFromBytes("x"), {});
  ASSERT_TRUE(job->Next().ok());

  job->Cancel();

  EXPECT_EQ(ReadAll(*job).status.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(service_.WaitForCancelled(1));
}

TEST_F(ClientTest, DeadlineEndsTheJobOnBothSides) {
  JobOptions options;
  // Long enough for the service to get the call on a busy machine.
  options.timeout = absl::Seconds(2);
  auto job = client_->Start(ConfigFor("hang"), MediaFromBytes("x"), options);

  EXPECT_EQ(ReadAll(*job).status.code(), absl::StatusCode::kDeadlineExceeded);

  EXPECT_TRUE(service_.WaitForCancelled(1));
}

TEST_F(ClientTest, DroppedJobWithUnreadAnswersIsCancelled) {
  std::atomic<int64_t> bytes = 0;
  client_->Start(ConfigFor("hang"), MediaFromBytes("x"), {})->Next().IgnoreError();
  client_->Start(ConfigFor("flood:5"), std::make_unique<EndlessSource>(bytes), {})
      ->Next()
      .IgnoreError();

  EXPECT_TRUE(service_.WaitForCancelled(2));
}

TEST_F(ClientTest, BrokenSourceEndsTheJobWithItsOwnError) {
  testing::Gate gate;
  auto job = client_->Start(ConfigFor("hang"), std::make_unique<BrokenSource>(gate), {});
  // The service has the call: one that is cancelled before might never get to it.
  EXPECT_TRUE(job->Next().ok());
  gate.Open();

  EXPECT_EQ(ReadAll(*job).status, absl::DataLossError("the disk is broken"));

  EXPECT_TRUE(service_.WaitForCancelled(1));
}

TEST_F(ClientTest, TwoJobsOfOneClientDoNotMix) {
  const std::string one = Pattern(1'000'000), two(1'000'000, '2');
  auto first = client_->Start(ConfigFor("echo"), MediaFromBytes(one), {});
  auto second = client_->Start(ConfigFor("echo"), MediaFromBytes(two), {});

  Outcome second_outcome;
  std::thread other([&] { second_outcome = ReadAll(*second); });
  const Outcome first_outcome = ReadAll(*first);
  other.join();

  EXPECT_EQ(first_outcome.video, one);
  EXPECT_EQ(second_outcome.video, two);
}

TEST_F(ClientTest, JobOutlivesItsClient) {
  auto job = client_->Start(ConfigFor("echo"), MediaFromBytes(Pattern(1'000'000)), {});

  client_.reset();

  EXPECT_TRUE(ReadAll(*job).summary);
}

TEST_F(ClientTest, AsksAboutJobs) {
  const auto job = client_->GetJob(testing::kFakeJobId);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::JOB_STATE_RUNNING);
  const auto cancelled = client_->CancelJob(testing::kFakeJobId);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state(), v1::JOB_STATE_CANCELLED);

  EXPECT_EQ(client_->GetJob("other").status(), absl::NotFoundError("no such job"));
  EXPECT_EQ(client_->CancelJob("other").status(), absl::NotFoundError("no such job"));
}

TEST_F(ClientTest, AsksAboutModelsAndHealth) {
  const auto models = client_->ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(models->models(0).name(), "echo");

  EXPECT_EQ(client_->CheckHealth("").value(), Health::kServing);
  EXPECT_EQ(client_->CheckHealth(kReadyService).value(), Health::kServing);
  EXPECT_EQ(client_->CheckHealth("nothing").value(), Health::kUnknownService);

  server_->GetHealthCheckService()->SetServingStatus(kReadyService, false);
  EXPECT_EQ(client_->CheckHealth(kReadyService).value(), Health::kNotServing);
}

TEST(ConnectTest, NoServerIsToldAtOnce) {
  testing::TemporaryFolder folder;
  const absl::Time start = absl::Now();

  const auto client = Client::Connect("unix:" + folder.File("none"), {});

  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr(folder.File("none")));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST(ConnectTest, WaitsForAServerThatIsJustStarting) {
  testing::TemporaryFolder folder;
  const std::string target = "unix:" + folder.File("late.sock");
  testing::FakeService service;
  std::unique_ptr<grpc::Server> server;
  ClientOptions options;
  options.wait_for_server = true;
  options.connect_timeout = absl::Seconds(30);

  std::thread late([&] {
    // A first attempt has failed by the time this one is over.
    EXPECT_FALSE(Client::Connect(target, {}).ok());
    server = testing::StartFakeServer(service, target);
  });
  const auto client = Client::Connect(target, options);
  late.join();

  EXPECT_TRUE(client.ok()) << client.status();
  server->Shutdown();
}

TEST(ConnectTest, WaitingIsBounded) {
  testing::TemporaryFolder folder;
  ClientOptions options;
  options.wait_for_server = true;
  options.connect_timeout = absl::Milliseconds(300);

  const auto client = Client::Connect("unix:" + folder.File("none"), options);

  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
}

// Not in process: a server that is killed says nothing more.
TEST(ServerDeathTest, JobOfADeadServerIsUnavailable) {
  auto server = tool::ServerProcess::Start({FAKE_REENACTD, "unused", {}});
  ASSERT_TRUE(server.ok()) << server.status();
  ClientOptions options;
  options.wait_for_server = true;
  auto client = Client::Connect((*server)->target(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  JobOptions job_options;
  job_options.max_resume_attempts = 2;
  auto job = (*client)->Start(ConfigFor("hang"), MediaFromBytes("x"), job_options);
  ASSERT_TRUE(job->Next().ok());

  (*server)->Kill();

  EXPECT_EQ(ReadAll(*job).status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ((*client)->ListModels().status().code(), absl::StatusCode::kUnavailable);
}

TEST(MediaSourceTest, SaysWhichFileCannotBeRead) {
  testing::TemporaryFolder folder;

  const absl::Status missing = OpenMediaFile(folder.File("none.mp4")).status();
  const absl::Status is_folder = OpenMediaFile(folder.path()).status();

  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(folder.File("none.mp4")));
  EXPECT_EQ(is_folder.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(is_folder.message()), HasSubstr(folder.path()));
}

TEST(MediaSourceTest, WholeFileIsBounded) {
  testing::TemporaryFolder folder;
  const std::string bytes = Pattern(1'000'000);
  std::ofstream(folder.File("a"), std::ios::binary) << bytes;

  EXPECT_EQ(ReadWholeFile(folder.File("a"), 1'000'000).value(), bytes);
  EXPECT_EQ(ReadWholeFile(folder.File("a"), 999'999).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace reenact
