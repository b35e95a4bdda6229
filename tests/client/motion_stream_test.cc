// Motion templates by the client library and by `reenact extract-motion`, on a fake service.
#include "client/motion_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "tests/client/fake_service.h"
#include "tests/client/subprocess.h"
#include "tests/support/paths.h"

namespace reenact::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;

// Ends with an error after a first chunk.
class BadSource : public MediaSource {
 public:
  absl::Status Read(size_t, std::string& chunk) override {
    if (std::exchange(read_, true)) return absl::DataLossError("the disk is gone");
    chunk = "first";
    return absl::OkStatus();
  }

 private:
  bool read_ = false;
};

class EndlessSource : public MediaSource {
 public:
  absl::Status Read(size_t max_bytes, std::string& chunk) override {
    chunk.assign(max_bytes, 'x');
    return absl::OkStatus();
  }
};

class MotionStreamTest : public ::testing::Test {
 protected:
  MotionStreamTest() {
    server_ = StartFakeServer(service_, target_);
    EXPECT_NE(server_, nullptr);
    auto client = Client::Connect(target_, {.tenant = "studio"});
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    std::ofstream(folder_.File("drive.mp4"), std::ios::binary) << Media();
  }
  ~MotionStreamTest() override { server_->Shutdown(std::chrono::system_clock::now()); }

  static std::string Media() {
    std::string bytes(700'000, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 13);
    return bytes;
  }
  static v1::ExtractMotionConfig Config(int wish) {
    v1::ExtractMotionConfig config;
    config.mutable_driver_face()->set_index(wish);
    return config;
  }
  std::unique_ptr<MotionStream> Start(int wish, std::unique_ptr<MediaSource> media,
                                      const ExtractOptions& options = {}) {
    return client_->ExtractMotion(Config(wish), std::move(media), options);
  }
  // All of it; the status of its end.
  static absl::Status ReadAll(MotionStream& stream, std::string* bytes = nullptr) {
    while (true) {
      auto chunk = stream.Next();
      if (!chunk.ok()) return chunk.status();
      if (!chunk->has_value()) return absl::OkStatus();
      if (bytes != nullptr) *bytes += **chunk;
    }
  }

  TemporaryFolder folder_;
  const std::string target_ = "unix:" + folder_.File("server.sock");
  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(MotionStreamTest, SendsTheMediaAndGivesTheTemplate) {
  const auto stream = Start(0, MediaFromBytes(Media()), {.chunk_bytes = 100'000});
  std::string bytes;
  EXPECT_EQ(ReadAll(*stream, &bytes), absl::OkStatus());
  EXPECT_TRUE(bytes == Media());
  EXPECT_EQ(stream->summary().frames(), 25);
  EXPECT_EQ(stream->summary().bytes_out(), 700'000);
  EXPECT_EQ(ReadAll(*stream), absl::OkStatus()) << "the end stays";
  EXPECT_THAT(service_.chunk_sizes(), Each(Le(100'000u)));
  EXPECT_EQ(service_.tenant(), "studio");
}

TEST_F(MotionStreamTest, TellsHowItEnded) {
  EXPECT_EQ(ReadAll(*Start(1, MediaFromBytes("media"))),
            absl::InvalidArgumentError("driving video: no face found"));
  EXPECT_EQ(ReadAll(*Start(3, MediaFromBytes("media"))).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReadAll(*Start(0, std::make_unique<BadSource>())),
            absl::DataLossError("the disk is gone"));
  EXPECT_EQ(
      ReadAll(*Start(2, MediaFromBytes("media"), {.timeout = absl::Milliseconds(200)})).code(),
      absl::StatusCode::kDeadlineExceeded);
}

TEST_F(MotionStreamTest, CanBeCancelledAndLeft) {
  const auto cancelled = Start(2, std::make_unique<EndlessSource>());
  ASSERT_TRUE(cancelled->Next().ok());
  cancelled->Cancel();
  EXPECT_EQ(ReadAll(*cancelled).code(), absl::StatusCode::kCancelled);
  ASSERT_TRUE(Start(2, std::make_unique<EndlessSource>())->Next().ok());  // and left at once
  Start(0, std::make_unique<EndlessSource>()).reset();
  EXPECT_TRUE(service_.WaitForCancelled(2));
}

// The same by the tool.
class MotionToolTest : public MotionStreamTest {
 protected:
  void SetUp() override {
#ifdef REENACT_THREAD_SANITIZER
    GTEST_SKIP() << "the tool has no list of what the sanitizer cannot see in gRPC";
#endif
  }

  // `reenact extract-motion` on the fake service.
  std::unique_ptr<Subprocess> Tool(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {REENACT_PROGRAM, "extract-motion",
                                          "--driving",     folder_.File("drive.mp4"),
                                          "--out",         folder_.File("clip.motion"),
                                          "--server",      target_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return std::make_unique<Subprocess>(arguments, std::map<std::string, std::string>());
  }
};

TEST_F(MotionToolTest, WritesTheFile) {
  auto tool = Tool({"--no-audio", "--driver-face", "0.25,0.75", "--tenant", "studio"});
  EXPECT_EQ(tool->Wait(), 0) << tool->err();
  EXPECT_TRUE(ReadFile(folder_.File("clip.motion")) == Media());
  EXPECT_THAT(tool->err(),
              AllOf(HasSubstr("clip.motion: the motion of 25 frames, 24 of them with a face"),
                    HasSubstr(", with sound"), HasSubstr("note: a note")));
  EXPECT_FALSE(service_.motion_config().copy_audio());
  EXPECT_EQ(service_.motion_config().driver_face().position().y(), 0.75);
  EXPECT_EQ(service_.tenant(), "studio");
}

TEST_F(MotionToolTest, TellsPrograms) {
  auto json = Tool({"--json", "--quiet"});
  EXPECT_EQ(json->Wait(), 0);
  EXPECT_THAT(json->out(), AllOf(HasSubstr("\"output\""), HasSubstr("\"frames_with_face\"")));
  EXPECT_THAT(json->err(), IsEmpty());
  auto piped = Tool({"-o", "-", "--quiet"});
  EXPECT_NE(piped->Wait(), 0) << "one output, not two";
  auto stdout_only = Subprocess({REENACT_PROGRAM, "extract-motion", "-d", folder_.File("drive.mp4"),
                                 "-o", "-", "--server", target_, "--quiet"},
                                {});
  EXPECT_EQ(stdout_only.Wait(), 0);
  EXPECT_TRUE(stdout_only.out() == Media());
}

TEST_F(MotionToolTest, TellsWhatIsWrong) {
  const auto expect = [this](std::vector<std::string> more, int code, const std::string& message) {
    auto tool = Tool(std::move(more));
    EXPECT_EQ(tool->Wait(), code);
    EXPECT_THAT(tool->err(), HasSubstr(message));
    EXPECT_FALSE(std::ifstream(folder_.File("clip.motion")).good());
  };
  expect({"--driver-face", "1"}, 2, "driving video: no face found");
  expect({"--driver-face", "3"}, 1, "without a summary");
  expect({"--driver-face", folder_.File("no.png")}, 2, "no.png");
  expect({"--driver-face", "2", "--deadline", "300ms"}, 4, "");
  expect({"--deadline", "soon"}, 2, "90s");
  auto missing = Subprocess({REENACT_PROGRAM, "extract-motion", "-d", folder_.File("no.mp4"), "-o",
                             folder_.File("clip.motion"), "--server", target_},
                            {});
  EXPECT_EQ(missing.Wait(), 2);
  EXPECT_THAT(missing.err(), HasSubstr("no.mp4"));
  auto same = Subprocess({REENACT_PROGRAM, "extract-motion", "-d", folder_.File("drive.mp4"), "-o",
                          folder_.File("drive.mp4"), "--server", target_},
                         {});
  EXPECT_EQ(same.Wait(), 2);
  EXPECT_THAT(same.err(), HasSubstr("is the driving video"));
}

TEST_F(MotionToolTest, WritesNothingWhenInterrupted) {
  auto tool = Tool({"--driver-face", "2"});
  // It has begun once the server has its first chunk.
  while (service_.chunk_sizes().empty()) std::this_thread::yield();
  tool->Signal(SIGINT);
  EXPECT_EQ(tool->Wait(), 4);
  EXPECT_THAT(tool->err(), HasSubstr("interrupted; nothing was written"));
  EXPECT_FALSE(std::ifstream(folder_.File("clip.motion")).good());
}

}  // namespace
}  // namespace reenact::testing
