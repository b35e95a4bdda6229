#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/server/status_is.h"

namespace reenact {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

class ConfigFile {
 public:
  explicit ConfigFile(const std::string& content)
      : path_(std::filesystem::path(::testing::TempDir()) /
              (std::string("reenactd_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".toml")) {
    std::ofstream(path_) << content;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  const std::filesystem::path path_;
};

TEST(ParseServerConfigTest, DefaultsAreThoseOfTheStruct) {
  const auto parsed = ParseServerConfig({"--bundle", "demo"});

  ASSERT_THAT(parsed, IsOk());
  const ServerConfig defaults;
  EXPECT_THAT(parsed->config.bundles, ElementsAre("demo"));
  EXPECT_EQ(parsed->config.listen, defaults.listen);
  EXPECT_EQ(parsed->config.max_queued_jobs, defaults.max_queued_jobs);
  EXPECT_EQ(parsed->config.drain_timeout, defaults.drain_timeout);
  EXPECT_EQ(parsed->text_to_print, "");
}

TEST(ParseServerConfigTest, ReadsFlags) {
  const auto parsed = ParseServerConfig({"--bundle", "a", "--bundle", "b", "--listen", "0.0.0.0:0",
                                         "--listen=unix:/tmp/x.sock", "--metrics-listen", "off",
                                         "--max-active-jobs=7", "--drain-timeout", "90s",
                                         "--max-outbox-bytes", "1"});

  ASSERT_THAT(parsed, IsOk());
  EXPECT_THAT(parsed->config.bundles, ElementsAre("a", "b"));
  EXPECT_THAT(parsed->config.listen, ElementsAre("0.0.0.0:0", "unix:/tmp/x.sock"));
  EXPECT_EQ(parsed->config.metrics_listen, "off");
  EXPECT_EQ(parsed->config.max_active_jobs, 7);
  EXPECT_EQ(parsed->config.drain_timeout, absl::Seconds(90));
  EXPECT_EQ(parsed->config.max_outbox_bytes, 1);
}

TEST(ParseServerConfigTest, FlagsWinOverTheFile) {
  const ConfigFile file(
      "bundle = [\"one\", \"two\"]\nlisten = \"[::]:50051\"\n"
      "max-queued-jobs = 5\nmax-jobs = 9\nretry-delay = \"250ms\"\n");

  const auto parsed = ParseServerConfig({"--config", file.path(), "--max-jobs", "10"});

  ASSERT_THAT(parsed, IsOk());
  EXPECT_THAT(parsed->config.bundles, ElementsAre("one", "two"));
  EXPECT_THAT(parsed->config.listen, ElementsAre("[::]:50051"));
  EXPECT_EQ(parsed->config.max_queued_jobs, 5);
  EXPECT_EQ(parsed->config.max_jobs, 10);
  EXPECT_EQ(parsed->config.retry_delay, absl::Milliseconds(250));
}

TEST(ParseServerConfigTest, ListsEveryProblemWithFieldValueAndRange) {
  const auto parsed =
      ParseServerConfig({"--listen", "nohost", "--listen", "h:70000", "--max-queued-jobs", "0",
                         "--max-batch-rows", "many", "--drain-timeout", "30", "--log-level", "loud",
                         "--precision", "fp64", "--trace", "lost", "--device", "gpu"});

  ASSERT_THAT(parsed, StatusIs(absl::StatusCode::kInvalidArgument, ""));
  EXPECT_THAT(std::string(parsed.status().message()),
              AllOf(HasSubstr("--listen: \"nohost\" is not host:port"),
                    HasSubstr("--listen: \"h:70000\" is not host:port"),
                    HasSubstr("--max-queued-jobs: \"0\" is not a whole number from 1 to 100000"),
                    HasSubstr("--max-batch-rows: \"many\" is not a whole number from 1 to 10000"),
                    HasSubstr("--drain-timeout: \"30\" is not a duration with its unit from 0 to"),
                    HasSubstr("--log-level: \"loud\" is not debug, info, warning or error"),
                    HasSubstr("--precision: \"fp64\" is not fp32 or bf16"),
                    HasSubstr("--device: \"gpu\" is not cpu, cuda, cuda:N"),
                    HasSubstr("--trace: \"lost\" is not auto, retained, lockstep or recomputed"),
                    HasSubstr("--bundle: is not set")));
}

TEST(ParseServerConfigTest, ReadsDevices) {
  for (const std::string device : {"cpu", "cuda", "cuda:0", "cuda:12", "auto"}) {
    const auto parsed = ParseServerConfig({"--bundle", "a", "--device", device});
    ASSERT_THAT(parsed, IsOk());
    EXPECT_EQ(parsed->config.device, device);
  }
  for (const std::string device : {"", "CPU", "cuda:", "cuda:-1", "cuda:1x", "cuda:128", "cuda1"}) {
    EXPECT_THAT(ParseServerConfig({"--bundle", "a", "--device", device}),
                StatusIs(absl::StatusCode::kInvalidArgument, "--device"))
        << device;
  }
}

TEST(ParseServerConfigTest, UnknownNamesAreErrors) {
  const ConfigFile file("max-speed = 5\n");

  EXPECT_THAT(ParseServerConfig({"--max-speed", "5"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "max-speed"));
  EXPECT_THAT(ParseServerConfig({"--bundle", "x", "--config", file.path()}),
              StatusIs(absl::StatusCode::kInvalidArgument, "max-speed"));
  EXPECT_THAT(ParseServerConfig({"--config", "/no/such/file.toml"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "file.toml"));
}

TEST(ParseServerConfigTest, HelpAndVersionArePrinted) {
  const auto help = ParseServerConfig({"--help"});
  const auto version = ParseServerConfig({"--version"});

  ASSERT_THAT(help, IsOk());
  EXPECT_THAT(help->text_to_print, AllOf(HasSubstr("--drain-timeout"), HasSubstr("Default: 30s")));
  ASSERT_THAT(version, IsOk());
  EXPECT_THAT(version->text_to_print, HasSubstr("reenactd "));
}

}  // namespace
}  // namespace reenact
