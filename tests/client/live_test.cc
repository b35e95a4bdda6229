// Live driving on the client's side: cutting a stream into pictures, time stamps, sending.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "client/frame_source.h"
#include "client/jpeg_splitter.h"
#include "tests/client/fake_service.h"
#include "tests/client/jpeg_bytes.h"
#include "tests/client/subprocess.h"
#include "tests/fakes/gate.h"

namespace reenact {
namespace {

using std::string_literals::operator""s;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Segment;
using testing::SmallJpeg;
using testing::TrickyJpeg;

// What a splitter makes of `stream`, given to it in pieces of `piece_bytes`.
absl::StatusOr<std::vector<std::string>> Split(const std::string& stream, size_t piece_bytes,
                                               size_t max_file_bytes = 1 << 20) {
  JpegSplitter splitter(max_file_bytes);
  std::vector<std::string> files;
  for (size_t at = 0; at < stream.size(); at += piece_bytes) {
    const absl::Status status =
        splitter.Push(std::string_view(stream).substr(at, piece_bytes), files);
    if (!status.ok()) return status;
  }
  if (const absl::Status status = splitter.Finish(); !status.ok()) return status;
  return files;
}

TEST(JpegSplitterTest, CutsAtTheEndsOfFilesHoweverTheStreamComes) {
  const std::vector<std::string> files = {SmallJpeg("one"), TrickyJpeg("two"), TrickyJpeg(""),
                                          SmallJpeg(std::string(1000, 'x')), SmallJpeg("")};
  std::string stream;
  for (const std::string& file : files) stream += file;

  for (size_t piece_bytes = 1; piece_bytes <= stream.size(); ++piece_bytes) {
    const auto split = Split(stream, piece_bytes);
    ASSERT_TRUE(split.ok()) << split.status();
    ASSERT_THAT(*split, ElementsAreArray(files)) << piece_bytes;
  }
}

TEST(JpegSplitterTest, LeavesOutWhatLiesBetweenFiles) {
  const std::string header = "\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n";
  const std::string stream = header + SmallJpeg("one") + "\0\0\0"s + "\xff" + SmallJpeg("two") +
                             "\xff\xff" + header + TrickyJpeg("three") + "\xff\xd9" + header;

  for (const size_t piece_bytes : {1u, 2u, 7u, 1000u}) {
    const auto split = Split(stream, piece_bytes);
    ASSERT_TRUE(split.ok()) << split.status();
    EXPECT_THAT(*split, ElementsAre(SmallJpeg("one"), SmallJpeg("two"), TrickyJpeg("three")));
  }
}

TEST(JpegSplitterTest, SaysWhatIsWrong) {
  struct Case {
    std::string stream;
    const char* message;
  };
  const std::string good = SmallJpeg("one");
  const Case cases[] = {
      {"", "holds no JPEG picture"},
      {std::string(1000, 'x'), "holds no JPEG picture"},
      {std::string(70'000, 'x'), "does not consist of JPEG pictures"},
      {good + std::string(70'000, '\xff'), "after 1 pictures"},
      {good + good.substr(0, good.size() - 1), "ends within picture 1"},
      {"\xff\xd8", "ends within picture 0"},
      {"\xff\xd8 x", "picture 0 of the driving stream is damaged: a segment"},
      {good + "\xff\xd8\xff\x00"s, "picture 1 of the driving stream is damaged: there is no"},
      {"\xff\xd8\xff\xdb\x00\x01"s, "impossible length"},
      {"\xff\xd8\xff\xdb\x00\x00"s, "impossible length"},
      {"\xff\xd8\xff\xd8"s, "another picture begins"},
      {good.substr(0, good.size() - 2) + good, "another picture begins"},
      {"\xff\xd8" + Segment('\xfe', "comment") + "no marker", "a segment does not end"},
  };
  for (const Case& c : cases) {
    for (const size_t piece_bytes : {1u, 3u, 100'000u}) {
      const auto split = Split(c.stream, piece_bytes);
      EXPECT_EQ(split.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(split.status().message()), HasSubstr(c.message));
    }
  }
}

TEST(JpegSplitterTest, FilesBeforeADamagedOneAreGood) {
  JpegSplitter splitter(1000);
  std::vector<std::string> files;

  EXPECT_FALSE(splitter.Push(SmallJpeg("one") + SmallJpeg("two") + "\xff\xd8!", files).ok());

  EXPECT_THAT(files, ElementsAre(SmallJpeg("one"), SmallJpeg("two")));
}

TEST(JpegSplitterTest, HoldsOneFileOfBoundedSize) {
  const size_t size = SmallJpeg(std::string(1000, 'x')).size();
  const std::string stream = SmallJpeg(std::string(1000, 'x')) + SmallJpeg(std::string(1001, 'x'));

  EXPECT_TRUE(Split(stream, 100, size + 1).ok());
  const auto split = Split(stream, 100, size);

  EXPECT_EQ(split.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(split.status().message()), HasSubstr("picture 1"));
}

TEST(JpegSplitterTest, GarbageIsRefusedOrSplitTheSameHoweverItComes) {
  std::mt19937 random(1);
  const auto below = [&random](size_t n) { return random() % static_cast<uint32_t>(n); };
  int num_damaged = 0, num_good = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string stream;
    for (size_t j = 0; j < 3; ++j) stream += below(2) == 0 ? SmallJpeg("a") : TrickyJpeg("b");
    for (size_t j = below(4); j > 0; --j) {
      switch (below(3)) {
        case 0:
          stream[below(stream.size())] = static_cast<char>(below(2) == 0 ? 0xff : below(256));
          break;
        case 1:
          stream.erase(below(stream.size() - 10), below(10));
          break;
        case 2:
          stream.insert(below(stream.size()), std::string(below(10), '\xff'));
      }
    }
    const auto whole = Split(stream, stream.size());
    const auto pieces = Split(stream, 1 + below(20));
    EXPECT_EQ(whole.status(), pieces.status());
    ++(whole.ok() ? num_good : num_damaged);
    if (!whole.ok() || !pieces.ok()) continue;
    EXPECT_EQ(*whole, *pieces);
    // What comes out is in the stream, in order.
    size_t at = 0;
    for (const std::string& file : *whole) {
      at = stream.find(file, at);
      ASSERT_NE(at, std::string::npos);
      at += file.size();
    }
  }
  EXPECT_GT(num_good, 200);
  EXPECT_GT(num_damaged, 200);
}

TEST(FrameRateTest, IsAWholeNumberADecimalOrAFraction) {
  const auto rate = [](const char* text) {
    const auto parsed = ParseFrameRate(text);
    return parsed.ok() ? absl::StrCat(parsed->num, "/", parsed->den)
                       : std::string(parsed.status().message());
  };
  EXPECT_EQ(rate("25"), "25/1");
  EXPECT_EQ(rate("29.97"), "2997/100");
  EXPECT_EQ(rate("23.976"), "2997/125");
  EXPECT_EQ(rate("30000/1001"), "30000/1001");
  EXPECT_EQ(rate("0.5"), "1/2");
  for (const char* wrong :
       {"", "0", "-25", "fast", "25/0", "25/1/1", "1001", "0.001", "nan", "1/"}) {
    EXPECT_THAT(rate(wrong), HasSubstr("is not a frame rate")) << wrong;
  }
}

// A stream in a named pipe, and who writes to it.
class JpegStreamTest : public ::testing::Test {
 protected:
  JpegStreamTest() { mkfifo(path_.c_str(), 0600); }
  ~JpegStreamTest() override { CloseWriter(); }

  std::unique_ptr<FrameSource> Open(const JpegStreamOptions& options) {
    auto stream = OpenJpegStream(path_, options);
    EXPECT_TRUE(stream.ok()) << stream.status();
    writer_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_GE(writer_, 0);
    return *std::move(stream);
  }
  void Write(const std::string& bytes) {
    ASSERT_EQ(write(writer_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void CloseWriter() {
    if (writer_ >= 0) close(writer_);
    writer_ = -1;
  }

  testing::TemporaryFolder folder_;
  const std::string path_ = folder_.File("camera");
  int writer_ = -1;
};

TEST_F(JpegStreamTest, CountsFramesAtAGivenRate) {
  const JpegStreamOptions options = {.rate = FrameRate{.num = 30000, .den = 1001}};
  EXPECT_EQ(TimeUnitOf(options).num, 1001);
  EXPECT_EQ(TimeUnitOf(options).den, 30000);
  const auto stream = Open(options);
  Write(SmallJpeg("one") + TrickyJpeg("two") + SmallJpeg("three").substr(0, 20));

  auto frame = stream->Next();
  ASSERT_TRUE(frame.ok() && frame->has_value()) << frame.status();
  EXPECT_EQ((*frame)->image, SmallJpeg("one"));
  EXPECT_EQ((*frame)->pts, 0);
  frame = stream->Next();
  ASSERT_TRUE(frame.ok() && frame->has_value()) << frame.status();
  EXPECT_EQ((*frame)->image, TrickyJpeg("two"));
  EXPECT_EQ((*frame)->pts, 1);

  Write(SmallJpeg("three").substr(20));
  EXPECT_EQ((*stream->Next())->pts, 2);
  // What is cut short is left out.
  Write(SmallJpeg("four").substr(0, 20));
  CloseWriter();
  EXPECT_EQ(stream->Next().value(), std::nullopt);
}

TEST_F(JpegStreamTest, WithoutARateTimeStampsAreTimesOfArrival) {
  const auto stream = Open({});
  EXPECT_EQ(TimeUnitOf({}).den, 1'000'000);
  const absl::Time before = absl::Now();
  Write(SmallJpeg("one") + SmallJpeg("two"));
  EXPECT_EQ((*stream->Next())->pts, 0);
  EXPECT_EQ((*stream->Next())->pts, 1) << "came with the one before: the next unit";
  Write(SmallJpeg("three"));
  const int64_t third = (*stream->Next())->pts;
  EXPECT_GE(third, 2);
  EXPECT_LE(absl::Microseconds(third), absl::Now() - before + absl::Microseconds(2));
}

TEST_F(JpegStreamTest, PaceHoldsFramesBackUntilTheirTime) {
  const auto stream = Open({.rate = FrameRate{.num = 100, .den = 1}, .pace = true});
  std::string bytes;
  for (int i = 0; i < 6; ++i) bytes += SmallJpeg("x");
  Write(bytes);

  ASSERT_TRUE(stream->Next().ok());
  const absl::Time first = absl::Now();
  for (int i = 1; i < 6; ++i) EXPECT_EQ((*stream->Next())->pts, i);

  EXPECT_GE(absl::Now() - first, absl::Milliseconds(49));
}

TEST_F(JpegStreamTest, StopEndsAWaitingRead) {
  const auto stream = Open({});
  std::thread stopper([&stream] { stream->Stop(); });

  EXPECT_EQ(stream->Next().value(), std::nullopt);
  stopper.join();
  Write(SmallJpeg("one"));
  EXPECT_EQ(stream->Next().value(), std::nullopt) << "for good";
}

TEST_F(JpegStreamTest, DamagedPictureIsAnErrorAfterThoseBeforeIt) {
  const auto stream = Open({.rate = FrameRate{}});
  Write(SmallJpeg("one") + "\xff\xd8!");

  EXPECT_TRUE((*stream->Next()).has_value());
  EXPECT_THAT(std::string(stream->Next().status().message()), HasSubstr("picture 1"));
}

TEST_F(JpegStreamTest, SaysWhatCannotBeRead) {
  EXPECT_EQ(OpenJpegStream(folder_.File("none"), {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(OpenJpegStream(folder_.path(), {}).status().message()),
              HasSubstr("it is a folder"));
  const auto stream = Open({});
  CloseWriter();
  EXPECT_THAT(std::string(stream->Next().status().message()), HasSubstr("no JPEG picture"));
}

// Gives frames as long as the gate is open, and waits while it is not.
class GatedFrames : public FrameSource {
 public:
  GatedFrames(testing::Gate& gate, int num_frames) : gate_(gate), num_frames_(num_frames) {}

  absl::StatusOr<std::optional<DrivingFrame>> Next() override {
    if (stopped_ || next_ == num_frames_) return std::nullopt;
    if (!gate_.Await()) return absl::DataLossError("the gate stayed shut");
    if (stopped_) return std::nullopt;
    if (next_ == broken_at) return absl::DataLossError("the camera is broken");
    const int64_t pts = next_++;
    return DrivingFrame{.image = absl::StrCat("picture ", pts, ";"), .pts = pts * 40};
  }
  void Stop() override {
    stopped_ = true;
    gate_.Open();
  }

  int64_t broken_at = -1;

 private:
  testing::Gate& gate_;
  const int64_t num_frames_;
  std::atomic<bool> stopped_{false};
  int64_t next_ = 0;
};

class LiveClientTest : public ::testing::Test {
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

  static v1::JobConfig LiveConfig(const std::string& model) {
    v1::JobConfig config;
    config.set_model(model);
    config.mutable_live();
    return config;
  }
  // The next answer with video in it; empty: there is none any more.
  static std::string NextVideo(JobStream& job) {
    while (true) {
      auto next = job.Next();
      if (!next.ok() || !next->has_value()) return "";
      if ((*next)->has_video()) return (*next)->video().data();
    }
  }

  testing::TemporaryFolder folder_;
  const std::string target_ = "unix:" + folder_.File("server.sock");
  testing::FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(LiveClientTest, FramesAreAnsweredBeforeTheNextIsSent) {
  auto job = client_->Start(LiveConfig("echo"), JobOptions{});

  for (int i = 0; i < 5; ++i) {
    const std::string image = absl::StrCat("picture ", i);
    ASSERT_TRUE(job->SendFrame({.image = image, .pts = 1000 + 40 * i}));
    EXPECT_EQ(NextVideo(*job), image);
  }
  EXPECT_TRUE(job->FinishSending());
  EXPECT_EQ(NextVideo(*job), "");
  EXPECT_TRUE(job->Next().ok());
  EXPECT_THAT(service_.pts(), ElementsAre(1000, 1040, 1080, 1120, 1160));
}

TEST_F(LiveClientTest, SourceIsSentWhileAnswersAreRead) {
  testing::Gate gate(true);
  auto job =
      client_->Start(LiveConfig("echo"), std::make_unique<GatedFrames>(gate, 100), JobOptions{});

  std::string video;
  while (true) {
    const std::string piece = NextVideo(*job);
    if (piece.empty()) break;
    video += piece;
  }

  EXPECT_TRUE(job->Next().ok());
  EXPECT_EQ(service_.pts().size(), 100u);
  EXPECT_THAT(video, ::testing::StartsWith("picture 0;picture 1;picture 2;"));
  EXPECT_THAT(video, ::testing::EndsWith("picture 99;"));
}

TEST_F(LiveClientTest, StoppedSourceEndsTheDrivingAndNotTheJob) {
  testing::Gate gate(true);
  auto job = client_->Start(LiveConfig("echo"), std::make_unique<GatedFrames>(gate, 1'000'000'000),
                            JobOptions{});
  EXPECT_EQ(NextVideo(*job), "picture 0;");

  job->StopSource();
  while (!NextVideo(*job).empty()) {
  }

  EXPECT_TRUE(job->Next().ok()) << job->Next().status();
}

TEST_F(LiveClientTest, BrokenSourceEndsTheJobWithItsOwnError) {
  testing::Gate gate(true);
  auto source = std::make_unique<GatedFrames>(gate, 1000);
  source->broken_at = 3;
  auto job = client_->Start(LiveConfig("echo"), std::move(source), JobOptions{});

  while (!NextVideo(*job).empty()) {
  }

  EXPECT_EQ(job->Next().status(), absl::DataLossError("the camera is broken"));
}

TEST_F(LiveClientTest, DroppedJobStopsItsSource) {
  testing::Gate gate(false);
  auto job =
      client_->Start(LiveConfig("echo"), std::make_unique<GatedFrames>(gate, 1000), JobOptions{});
  ASSERT_TRUE(job->Next().ok());
  ASSERT_TRUE(gate.AwaitWaiting(1));

  job.reset();

  EXPECT_THAT(service_.pts(), IsEmpty());
}

}  // namespace
}  // namespace reenact
