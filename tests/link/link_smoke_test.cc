// Proves that every large dependency lives in one binary: libtorch has exported protobuf symbols of
// its own before, and its wheel carries headers that shadow the system's.
#include <google/protobuf/struct.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <torch/torch.h>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <opencv2/imgproc.hpp>

#include "absl/status/status.h"
#include "absl/time/clock.h"

namespace {

TEST(LinkSmokeTest, EveryLibraryWorksInOneProcess) {
  // protobuf: parse what we serialise.
  google::protobuf::Struct message;
  (*message.mutable_fields())["side"].set_number_value(16);
  google::protobuf::Struct parsed;
  ASSERT_TRUE(parsed.ParseFromString(message.SerializeAsString()));
  const int side = static_cast<int>(parsed.fields().at("side").number_value());

  // libtorch: a convolution with autograd, multi-threaded kernels included.
  const torch::Tensor x = torch::ones({1, 3, side, side}).requires_grad_();
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(3, 4, 3).padding(1));
  conv(x).sum().backward();
  EXPECT_EQ(x.grad().sizes(), x.sizes());

  // OpenCV: resize a picture.
  cv::Mat picture(side, side, CV_8UC3, cv::Scalar(10, 20, 30)), larger;
  cv::resize(picture, larger, cv::Size(2 * side, 2 * side));
  EXPECT_EQ(larger.cols, 2 * side);
  EXPECT_EQ(larger.at<cv::Vec3b>(side, side), cv::Vec3b(10, 20, 30));

  // FFmpeg: the H.264 encoder is there.
  EXPECT_NE(avcodec_find_encoder_by_name("libx264"), nullptr);
  EXPECT_NE(av_guess_format("mp4", nullptr, nullptr), nullptr);

  // prometheus-cpp.
  prometheus::Registry registry;
  prometheus::BuildCounter().Name("reenact_smoke_total").Register(registry).Add({}).Increment();
  EXPECT_NE(
      prometheus::TextSerializer().Serialize(registry.Collect()).find("reenact_smoke_total 1"),
      std::string::npos);

  // gRPC: a server starts and stops on a port of its own.
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  EXPECT_GT(port, 0);
  server->Shutdown(absl::ToChronoTime(absl::Now() + absl::Seconds(1)));
  queue->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) {
  }

  EXPECT_TRUE(absl::OkStatus().ok());
}

}  // namespace
