// Signals to a reenactd that has a fake engine.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/client/subprocess.h"
#include "tests/server/test_client.h"

namespace reenact {
namespace {

using testing::PictureConfig;
using testing::Subprocess;
using testing::TemporaryFolder;
using testing::TestCall;

// A second on a busy machine; whatever is waited for by mistake takes longer.
constexpr absl::Duration kAtOnce = absl::Seconds(3);

class ProcessTest : public ::testing::Test {
 protected:
  void Start(const std::string& mode) {
    // Under the thread sanitizer: a process that exits at once leaves its threads on purpose.
    process_ = std::make_unique<Subprocess>(
        std::vector<std::string>{FAKE_ENGINE_REENACTD, "--bundle", mode, "--listen", Address(),
                                 "--metrics-listen", "off"},
        std::map<std::string, std::string>{
            {"TSAN_OPTIONS", "halt_on_error=1:report_thread_leaks=0"}});
    ASSERT_TRUE(AwaitLine(mode == "slow-load" ? "\"listening\"" : "\"ready\"")) << process_->err();
  }
  std::string Address() const { return absl::StrCat("unix:", folder_.File("socket")); }
  bool AwaitLine(const std::string& part) {
    return process_->ReadUntil([&] { return absl::StrContains(process_->err(), part); });
  }
  std::unique_ptr<v1::ReenactService::Stub> Connect() {
    return v1::ReenactService::NewStub(
        grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials()));
  }

  TemporaryFolder folder_;
  std::unique_ptr<Subprocess> process_;
};

TEST_F(ProcessTest, EitherSignalEndsAnIdleServerAtOnce) {
  for (const int number : {SIGTERM, SIGINT}) {
    Start("normal");
    const absl::Time start = absl::Now();
    process_->Signal(number);

    EXPECT_EQ(process_->Wait(), 0) << process_->err();
    EXPECT_LT(absl::Now() - start, kAtOnce);
  }
}

TEST_F(ProcessTest, SignalWhileTheModelLoadsEndsItAtOnce) {
  Start("slow-load");
  const absl::Time start = absl::Now();
  process_->Signal(SIGTERM);

  EXPECT_EQ(process_->Wait(), 0) << process_->err();
  EXPECT_LT(absl::Now() - start, kAtOnce);
}

TEST_F(ProcessTest, SecondSignalEndsTheDrainAtOnce) {
  Start("slow-step");
  const auto stub = Connect();
  TestCall call(*stub);
  call.Send(PictureConfig()).SendChunk("media").HalfClose();
  ASSERT_TRUE(AwaitLine("in the step"));
  process_->Signal(SIGTERM);
  ASSERT_TRUE(AwaitLine("\"draining\""));
  const absl::Time start = absl::Now();

  process_->Signal(SIGTERM);

  EXPECT_EQ(process_->Wait(), 1) << process_->err();
  EXPECT_LT(absl::Now() - start, kAtOnce);
  EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ProcessTest, AddressThatCannotBeBoundIsStatus1) {
  process_ = std::make_unique<Subprocess>(std::vector<std::string>{
      FAKE_ENGINE_REENACTD, "--bundle", "normal", "--listen",
      absl::StrCat("unix:", folder_.File("no-such-folder/socket")), "--metrics-listen", "off"});

  EXPECT_EQ(process_->Wait(), 1);
  EXPECT_TRUE(absl::StrContains(process_->err(), "cannot listen on")) << process_->err();
}

}  // namespace
}  // namespace reenact
