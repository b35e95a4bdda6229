// Scrapes a server and compares what it says with server/METRICS.md and with what it did.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tests/server/test_client.h"

namespace reenact {
namespace {

using testing::FakeEngine;
using testing::GrpcStatusIs;
using testing::LiveConfig;
using testing::PictureConfig;
using testing::ServerFixture;
using ::testing::StartsWith;
using testing::StatusIs;
using testing::TestCall;

// One HTTP exchange on the loopback; the whole answer.
std::string Exchange(int port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  shutdown(fd, SHUT_WR);
  std::string answer;
  char buffer[4096];
  for (ssize_t n = read(fd, buffer, sizeof(buffer)); n > 0; n = read(fd, buffer, sizeof(buffer))) {
    answer.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return answer;
}

std::string Scrape(int port) {
  return Exchange(port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

// Name -> type and label names.
struct Series {
  std::string type;
  std::set<std::string> labels;
  bool operator==(const Series& other) const = default;
};
void PrintTo(const Series& series, std::ostream* out) {
  *out << series.type;
  for (const std::string& label : series.labels) *out << " " << label;
}

std::map<std::string, Series> FromTable() {
  std::ifstream file(std::string(REENACT_SOURCE_DIR) + "/server/METRICS.md");
  std::map<std::string, Series> table;
  const std::regex row("\\| `(reenact_\\w+)` \\| (\\w+) \\| ([^|]*)\\|.*");
  const std::regex label("`(\\w+)`");
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    Series& series = table[match[1]];
    series.type = match[2];
    const std::string labels = match[3];
    for (auto it = std::sregex_iterator(labels.begin(), labels.end(), label);
         it != std::sregex_iterator(); ++it) {
      series.labels.insert((*it)[1]);
    }
  }
  return table;
}

std::map<std::string, Series> FromScrape(const std::string& text) {
  std::map<std::string, Series> scraped;
  std::istringstream lines(text);
  const std::regex type("# TYPE (reenact_\\w+) (\\w+)\r?");
  const std::regex sample("(reenact_\\w+?)(_bucket|_sum|_count)?(\\{([^}]*)\\})? .*");
  const std::regex label("(\\w+)=\"");
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, type)) {
      scraped[match[1]].type = match[2];
    } else if (std::regex_match(line, match, sample)) {
      // Suffixes belong to histograms only; a counter's name may end in anything.
      const std::string full = match[1].str() + match[2].str();
      Series& series = scraped[scraped.contains(full) ? full : match[1].str()];
      const std::string labels = match[4];
      for (auto it = std::sregex_iterator(labels.begin(), labels.end(), label);
           it != std::sregex_iterator(); ++it) {
        if ((*it)[1] != "le") series.labels.insert((*it)[1]);
      }
    }
  }
  return scraped;
}

// The value of the one sample that begins with `name` (labels included); -1: there is none.
double Value(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
  }
  return -1;
}

class MetricsTest : public ServerFixture {
 protected:
  void SetUp() override {
    ServerConfig config = TestConfig();
    config.metrics_listen = "127.0.0.1:0";
    config.max_queued_jobs = 1;
    config.max_active_jobs = 1;
    FakeEngine::Options options;
    options.on_step = [this](const JobRequest& request, int64_t) {
      return request.seed == 1 ? WaitAtGate() : absl::OkStatus();
    };
    options.on_create = [](const JobRequest& request) {
      return request.seed == 2 ? absl::FailedPreconditionError("no face") : absl::OkStatus();
    };
    StartServer(config, std::move(options));
  }
  static v1::JobConfig WithSeed(uint64_t seed) {
    v1::JobConfig config = PictureConfig();
    config.set_seed(seed);
    return config;
  }
};

TEST_F(MetricsTest, ScrapeEqualsTheTable) {
  ExpectNormalJobSucceeds();

  const auto scraped = FromScrape(Scrape(server_->metrics_port()));

  EXPECT_GT(scraped.size(), 15u);
  EXPECT_EQ(scraped, FromTable());
}

TEST_F(MetricsTest, EndpointAnswersNothingElse) {
  const int port = server_->metrics_port();

  EXPECT_THAT(Exchange(port, "GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Exchange(port, "GET /metricsx HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Exchange(port, "POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Exchange(port, "GET /metrics"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Exchange(port, ""), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Scrape(port), StartsWith("HTTP/1.1 200 "));
}

TEST_F(MetricsTest, AddressInUseIsAnError) {
  ServerConfig config = TestConfig();
  config.metrics_listen = absl::StrCat("127.0.0.1:", server_->metrics_port());

  EXPECT_THAT(Server::Start(
                  config, [] { return absl::InternalError("never"); }, nullptr),
              StatusIs(absl::StatusCode::kUnavailable, "for metrics"));
}

TEST_F(MetricsTest, CountsWhatHappened) {
  ExpectNormalJobSucceeds();
  TestCall failing(*stub_), running(*stub_), queued(*stub_), refused(*stub_);
  failing.Send(WithSeed(2)).HalfClose();
  EXPECT_THAT(failing.Finish(), GrpcStatusIs(grpc::StatusCode::FAILED_PRECONDITION, ""));
  // 6 steps of the normal job; this one waits in its first.
  running.Send(WithSeed(1)).SendChunk("12345").HalfClose();
  ASSERT_TRUE(engine_->AwaitSteps(7));
  queued.Send(WithSeed(0));
  EXPECT_TRUE(queued.Read().has_accepted());
  refused.Send(WithSeed(0));
  EXPECT_THAT(refused.Finish(), GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED, ""));

  const std::string text = Scrape(server_->metrics_port());

  EXPECT_EQ(Value(text, "reenact_jobs_accepted_total"), 4);
  EXPECT_EQ(Value(text, "reenact_jobs_ended_total{code=\"OK\"}"), 1);
  EXPECT_EQ(Value(text, "reenact_jobs_ended_total{code=\"FAILED_PRECONDITION\"}"), 1);
  EXPECT_EQ(Value(text, "reenact_requests_refused_total{code=\"RESOURCE_EXHAUSTED\"}"), 1);
  EXPECT_EQ(Value(text, "reenact_jobs_live"), 2);
  EXPECT_EQ(Value(text, "reenact_jobs_queued"), 1);
  EXPECT_EQ(Value(text, "reenact_jobs_running"), 1);
  EXPECT_EQ(Value(text, "reenact_jobs_paused"), 0);
  EXPECT_EQ(Value(text, "reenact_steps_total"), 6);
  EXPECT_EQ(Value(text, "reenact_step_jobs_sum"), 6);
  EXPECT_EQ(Value(text, "reenact_step_rows_sum"), 6);
  EXPECT_EQ(Value(text, "reenact_rows_total"), 6);
  EXPECT_EQ(Value(text, "reenact_passed_over_total"), 0);
  EXPECT_EQ(Value(text, "reenact_queued_work_seconds"), 0);  // the fake states no work
  EXPECT_EQ(Value(text, "reenact_frames_total"), 8);
  EXPECT_EQ(Value(text, "reenact_received_bytes_total"), 10);
  EXPECT_EQ(Value(text, "reenact_sent_bytes_total"), 7 + 8 * 10);  // "init 0;" and the frames
  EXPECT_EQ(Value(text, "reenact_time_to_first_frame_seconds_count"), 1);
  EXPECT_EQ(Value(text, "reenact_stage_seconds_sum{stage=\"decode\"}"), 1.5);
  EXPECT_EQ(Value(text, "reenact_model_info{bundle_sha256=\"" + std::string(64, 'a') +
                            "\",model=\"fake\"}"),
            1);
  EXPECT_GE(Value(text, "reenact_worker_heartbeat_age_seconds"), 0);
  EXPECT_LT(Value(text, "reenact_worker_heartbeat_age_seconds"), 60);

  gate_.Open();
  queued.SendChunk("media").HalfClose();
  EXPECT_THAT(running.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
  EXPECT_THAT(queued.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
}

TEST_F(MetricsTest, CountsLiveFrames) {
  TestCall call(*stub_);
  v1::JobConfig config = LiveConfig(v1::SKIP_POLICY_SKIP);
  config.set_seed(1);
  call.Send(config);
  const std::string id = call.Read().accepted().job_id();
  for (int i = 0; i < 20; ++i) call.SendFrame("picture", i);
  v1::GetJobResponse job;
  for (int i = 0; i < 100000 && job.job().progress().live().frames_in() < 20; ++i) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_job_id(id);
    stub_->GetJob(&context, request, &job);
  }
  gate_.Open();
  call.HalfClose();
  ASSERT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));

  const std::string text = Scrape(server_->metrics_port());

  // The fake is ahead with two rows of 4.
  EXPECT_EQ(Value(text, "reenact_live_frames_total"), 20);
  EXPECT_EQ(Value(text, "reenact_live_frames_skipped_total"), 12);
  EXPECT_GE(Value(text, "reenact_live_lag_seconds_count"), 1);
  EXPECT_LE(Value(text, "reenact_live_lag_seconds_count"), 20);
  EXPECT_GT(Value(text, "reenact_live_lag_seconds_sum"), 0);
}

}  // namespace
}  // namespace reenact
