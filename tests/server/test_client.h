// A caller over real gRPC with the plain generated stubs, and a server with a fake engine to call.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "reenact/v1/reenact.grpc.pb.h"
#include "server/server.h"
#include "tests/fakes/fake_engine.h"
#include "tests/fakes/gate.h"
#include "tests/server/status_is.h"

namespace reenact::testing {

inline v1::JobConfig PictureConfig() {
  v1::JobConfig config;
  config.mutable_source()->set_image("picture");
  return config;
}

inline v1::JobConfig LiveConfig(v1::SkipPolicy skip = v1::SKIP_POLICY_WAIT) {
  v1::JobConfig config = PictureConfig();
  config.mutable_live()->set_skip_policy(skip);
  config.mutable_live()->mutable_max_wait()->set_seconds(10);
  config.mutable_output()->set_format(v1::OUTPUT_FORMAT_PNG);
  return config;
}

// The answers of one call; `Stream` is gRPC's client side of it. For one thread.
template <typename Stream>
class AnsweredCall {
 public:
  // Reads one answer. Empty payload: the stream is over.
  v1::ReenactResponse Read() {
    v1::ReenactResponse response;
    if (!stream_->Read(&response)) response.Clear();
    return response;
  }
  // Reads the rest and the status.
  grpc::Status Finish() {
    v1::ReenactResponse response;
    while (stream_->Read(&response)) answers_.push_back(response);
    return stream_->Finish();
  }
  void Cancel() { context_.TryCancel(); }

  // What Finish() read.
  const std::vector<v1::ReenactResponse>& answers() const { return answers_; }
  // All video pieces joined.
  std::string Video() const {
    std::string video;
    for (const v1::ReenactResponse& answer : answers_) video += answer.video().data();
    return video;
  }

 protected:
  AnsweredCall(absl::Duration deadline, const std::string& tenant) {
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(deadline));
    if (!tenant.empty()) context_.AddMetadata("reenact-tenant", tenant);
  }

  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;  // set by the derived class

 private:
  std::vector<v1::ReenactResponse> answers_;
};

// One Reenact call. For one thread.
class TestCall
    : public AnsweredCall<grpc::ClientReaderWriter<v1::ReenactRequest, v1::ReenactResponse>> {
 public:
  explicit TestCall(v1::ReenactService::Stub& stub, absl::Duration deadline = kTestTimeout,
                    const std::string& tenant = "")
      : AnsweredCall(deadline, tenant) {
    stream_ = stub.Reenact(&context_);
  }

  TestCall& Send(const v1::JobConfig& config) {
    v1::ReenactRequest request;
    *request.mutable_config() = config;
    // Refused calls end while the client still sends; Finish() has the reason.
    stream_->Write(request);
    return *this;
  }
  TestCall& SendChunk(const std::string& bytes) {
    v1::ReenactRequest request;
    request.set_driving_chunk(bytes);
    stream_->Write(request);
    return *this;
  }
  TestCall& SendFrame(const std::string& image, int64_t pts) {
    v1::ReenactRequest request;
    request.mutable_driving_frame()->set_image(image);
    request.mutable_driving_frame()->set_pts(pts);
    stream_->Write(request);
    return *this;
  }
  TestCall& SendEnd() {
    v1::ReenactRequest request;
    request.mutable_driving_end();
    stream_->Write(request);
    return *this;
  }
  TestCall& SendNothing() {
    stream_->Write(v1::ReenactRequest());
    return *this;
  }
  TestCall& HalfClose() {
    stream_->WritesDone();
    return *this;
  }
};

class ServerFixture : public ::testing::Test {
 protected:
  // Flags that make a server of a test: any free port of the loopback, no metrics.
  static ServerConfig TestConfig() {
    ServerConfig config;
    config.listen = {"127.0.0.1:0"};
    config.metrics_listen = "off";
    return config;
  }

  // Starts a server whose engine is loaded.
  void StartServer(ServerConfig config, FakeEngine::Options options) {
    StartServer(std::move(config), [this, options]() -> absl::StatusOr<std::unique_ptr<Engine>> {
      auto engine = std::make_unique<FakeEngine>(options);
      engine_ = engine.get();
      return engine;
    });
    ASSERT_THAT(server_->AwaitLoaded(), IsOk());
  }
  void StartServer(ServerConfig config, Server::LoadEngine load) {
    auto server = Server::Start(config, std::move(load), [this] { stopped_.Open(); });
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->addresses()[0], grpc::InsecureChannelCredentials());
    stub_ = v1::ReenactService::NewStub(channel_);
  }

  void TearDown() override {
    gate_.Open();
    if (server_ == nullptr) return;
    server_->Drain();
    EXPECT_THAT(server_->Wait(), IsOk());
    if (engine_ != nullptr) {
      EXPECT_TRUE(engine_->AwaitAlive(0));
      EXPECT_THAT(engine_->violations(), ::testing::IsEmpty());
    }
    server_.reset();
    EXPECT_TRUE(stopped_.Await());
  }

  // The server still does its work: a whole job, and nothing of the jobs before it is left.
  void ExpectNormalJobSucceeds() {
    TestCall call(*stub_);
    call.Send(PictureConfig()).SendChunk("media").HalfClose();
    EXPECT_THAT(call.Finish(), GrpcStatusIs(grpc::StatusCode::OK, ""));
    ASSERT_FALSE(call.answers().empty());
    EXPECT_TRUE(call.answers().front().has_accepted());
    ASSERT_TRUE(call.answers().back().has_summary());
    EXPECT_EQ(call.answers().back().summary().frames_out(),
              call.answers().back().summary().frames_in());
    EXPECT_TRUE(engine_->AwaitAlive(0));
  }

  // For hooks: steps wait here.
  absl::Status WaitAtGate() {
    return gate_.Await() ? absl::OkStatus() : absl::InternalError("the gate stayed shut");
  }

  Gate gate_;
  Gate stopped_;
  std::unique_ptr<Server> server_;
  FakeEngine* engine_ = nullptr;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ReenactService::Stub> stub_;
};

}  // namespace reenact::testing
