// What needs a GPU. Skips, visibly, where there is none; `ctest -L gpu` runs these alone.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pipeline/models/device.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/models/vae_decoder.h"
#include "tests/pipeline/models/random_autoencoder.h"
#include "tests/pipeline/models/random_rows.h"

namespace reenact {
namespace {

using testing::Expected;
using testing::ExpectNear;
using testing::Job;
using testing::MakeRows;
using testing::Near;
using testing::RandomAutoencoder;
using testing::RandomJob;
using testing::RandomSDiT;
using testing::Shape;
using torch::Tensor;

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto device = FindDevice("cuda");
    if (!device.ok()) GTEST_SKIP() << device.status().message();
    device_ = *device;
  }

  // Against SDiT::forward in float32 on the CPU, relative to the largest output. Not measured yet.
  static double Tolerance(ExecutorDtype dtype) {
    return dtype == ExecutorDtype::kFloat32 ? 1e-4 : 6e-2;
  }

  std::unique_ptr<RowExecutor> Make(const SDiT& sdit, ExecutorDtype dtype, int max_graphs = 16,
                                    bool traces_on_host = false) const {
    auto executor = MakeTorchExecutor(sdit, {.dtype = dtype,
                                             .device = device_,
                                             .traces_on_host = traces_on_host,
                                             .max_graphs = max_graphs});
    return std::move(executor.value());
  }

  torch::Device device_ = torch::kCPU;
};

TEST_F(GpuTest, TheDeviceHasANameAndMemory) {
  EXPECT_THAT(DescribeDevice(device_), ::testing::StartsWith("cuda:0 ("));
  EXPECT_GT(FreeCudaMemory(device_), int64_t{1} << 20);
  EXPECT_EQ(FindDevice("cuda:127").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GpuTest, CopiesArriveAndHostMemoryIsPinned) {
  DeviceLane lane(device_);
  const Tensor a = torch::randn({3, 5}), b = torch::randn({3, 5});
  const Tensor back = lane.Run([&] {
    Tensor to = torch::empty({2, 3, 5}, torch::device(device_));
    Upload({a, b}, &to);
    return ToHost(to + ToDevice(a, device_));
  });
  EXPECT_TRUE(back.is_pinned());
  EXPECT_TRUE(torch::equal(back, torch::stack({a + a, b + a})));
}

// The first call of a shape runs as it is, the second is recorded, the third launched again.
TEST_F(GpuTest, EqualsTheOverrideRecordedAndNot) {
  for (const SourceTokens source :
       {SourceTokens::kNone, SourceTokens::kSelf, SourceTokens::kJoint}) {
    for (const int64_t head_size : {32, 64, 72}) {
      SDiT sdit = RandomSDiT({.head_size = head_size, .source = source, .landmark_map = true});
      for (const auto dtype : {ExecutorDtype::kFloat32, ExecutorDtype::kBfloat16}) {
        for (const int max_graphs : {0, 16}) {
          SCOPED_TRACE(absl::StrCat("head ", head_size, " graphs ", max_graphs));
          auto executor = Make(sdit, dtype, max_graphs);
          for (uint64_t call = 0; call < 4; ++call) {
            Job job = RandomJob(sdit, call, /*num_rows=*/3, /*anchor=*/2, /*t=*/400);
            MakeRows(*executor, &job);
            ExpectNear(executor->Forward(job.rows), Expected(sdit, job), Tolerance(dtype));
            EXPECT_TRUE(job.trace.blocks[0].is_cuda());
            EXPECT_EQ(job.trace.bytes(), executor->trace_bytes());
          }
        }
      }
    }
  }
}

TEST_F(GpuTest, TracesMayRestOnTheHost) {
  SDiT sdit = RandomSDiT({.source = SourceTokens::kSelf});
  auto executor = Make(sdit, ExecutorDtype::kFloat32, 16, /*traces_on_host=*/true);
  for (uint64_t call = 0; call < 4; ++call) {
    Job job = RandomJob(sdit, call, /*num_rows=*/3, /*anchor=*/2, /*t=*/400);
    MakeRows(*executor, &job);
    ExpectNear(executor->Forward(job.rows), Expected(sdit, job),
               Tolerance(ExecutorDtype::kFloat32));
    EXPECT_TRUE(job.trace.blocks[0].is_cpu());
    EXPECT_TRUE(job.trace.blocks[0].is_pinned());
  }
}

TEST_F(GpuTest, DropsTheGraphsUsedLeast) {
  SDiT sdit = RandomSDiT({});
  auto executor = Make(sdit, ExecutorDtype::kFloat32, /*max_graphs=*/2);
  Job job = RandomJob(sdit, 7, /*num_rows=*/6, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  const auto expected = Expected(sdit, job);
  executor->Forward(job.rows);
  for (int round = 0; round < 3; ++round) {
    for (size_t n = 1; n <= 5; ++n) {
      for (int call = 0; call < 3; ++call) {
        const auto outputs = executor->Forward(absl::MakeConstSpan(job.rows).subspan(1, n));
        for (size_t i = 0; i < n; ++i) {
          EXPECT_TRUE(Near(outputs[i], expected[i + 1], Tolerance(ExecutorDtype::kFloat32)));
        }
      }
    }
  }
}

TEST_F(GpuTest, DecodesAsTheModule) {
  AutoencoderKL autoencoder = RandomAutoencoder({32, 64, 64}, 16, 4, 2);
  const Tensor z = torch::randn({2, 4, 8, 8});
  const torch::NoGradGuard no_grad;
  const Tensor expected = autoencoder->decode(z);
  for (const auto dtype : {ExecutorDtype::kFloat32, ExecutorDtype::kBfloat16}) {
    const auto decoder = std::move(MakeTorchVaeDecoder(autoencoder, dtype, device_).value());
    EXPECT_TRUE(Near(decoder->Decode(z), expected, Tolerance(dtype)));
    EXPECT_TRUE(torch::equal(decoder->DecodeToBytes(z), PicturesToBytes(decoder->Decode(z))));
  }
}

// Decoding and preparing while steps are run and recorded changes none of them.
TEST_F(GpuTest, DecodesAndPreparesBesideSteps) {
  SDiT sdit = RandomSDiT({.source = SourceTokens::kSelf});
  AutoencoderKL autoencoder = RandomAutoencoder({32, 64}, 16);
  auto executor = Make(sdit, ExecutorDtype::kFloat32, /*max_graphs=*/2);
  const auto decoder =
      std::move(MakeTorchVaeDecoder(autoencoder, ExecutorDtype::kFloat32, device_).value());
  Job job = RandomJob(sdit, 7, /*num_rows=*/6, /*anchor=*/1, /*t=*/250);
  MakeRows(*executor, &job);
  const auto expected = Expected(sdit, job);
  const Tensor z = torch::randn({1, 4, 8, 8}), picture = decoder->Decode(z);
  const Tensor source = job.source.tensors[0].cpu();
  std::atomic<bool> stepping = true;
  std::atomic<int> differences = 0, decoded = 0;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (stepping) {
        if (!torch::equal(decoder->Decode(z), picture)) ++differences;
        ++decoded;
      }
    });
  }
  others.emplace_back([&] {
    while (stepping) {
      const auto again = executor->TraceSource(*job.input.source_latent, *job.input.source_C,
                                               job.input.source_landmark_map);
      if (!torch::equal(again.tensors[0].cpu(), source)) ++differences;
    }
  });
  executor->Forward(job.rows);
  for (int call = 0; call < 200; ++call) {
    const auto n = static_cast<size_t>(call / 4 % 5 + 1);
    const auto outputs = executor->Forward(absl::MakeConstSpan(job.rows).subspan(1, n));
    for (size_t i = 0; i < n; ++i) {
      EXPECT_TRUE(Near(outputs[i], expected[i + 1], Tolerance(ExecutorDtype::kFloat32)));
    }
  }
  stepping = false;
  for (std::thread& other : others) other.join();

  EXPECT_EQ(differences, 0);
  EXPECT_GT(decoded, 0);
}

TEST_F(GpuTest, ABrokenRecordLeavesTheDeviceUsable) {
  DeviceLane lane(device_);
  const auto recorder = MakeCudaGraphRecorder();
  const Tensor x = lane.Run([&] { return torch::ones({3}, torch::device(device_)); });
  const auto record = [&] {
    return recorder->Record([&] { x.sum().item<float>(); });  // waits for the device
  };
  EXPECT_THROW(lane.Run(record), c10::Error);
  EXPECT_EQ(lane.Run([&] { return (x + x).sum().item<float>(); }), 6);
}

TEST_F(GpuTest, OutOfMemoryIsAnErrorOfOneCall) {
  DeviceLane lane(device_);
  try {
    lane.Run([&] {
      return torch::empty({FreeCudaMemory(device_) * 4},
                          torch::dtype(torch::kUInt8).device(device_));
    });
    FAIL() << "four times the free memory was allocated";
  } catch (const std::exception& error) {
    const absl::Status status = ErrorStatus(error, "denoising");
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(status.message(), ::testing::HasSubstr("iB"));
  }
  EXPECT_EQ(lane.Run([&] { return torch::ones({2}, torch::device(device_)).sum().item<float>(); }),
            2);
}

}  // namespace
}  // namespace reenact
