#include "pipeline/models/device.h"

#include <new>
#include <stdexcept>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pipeline/models/lru_cache.h"

namespace reenact {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using torch::Tensor;

const CudaState kNotBuilt = {.built = false, .num_devices = 0, .problem = ""};
const CudaState kNoDriver = {.built = true, .num_devices = 0, .problem = "no NVIDIA driver"};
const CudaState kTwoGpus = {.built = true, .num_devices = 2, .problem = ""};

torch::Device Found(absl::string_view name, const CudaState& cuda) {
  const auto device = FindDevice(name, cuda);
  EXPECT_TRUE(device.ok()) << name << ": " << device.status();
  return device.value_or(torch::Device(torch::kMeta));
}

TEST(FindDeviceTest, KnowsItsWords) {
  EXPECT_EQ(Found("cpu", kTwoGpus).str(), "cpu");
  EXPECT_EQ(Found("cuda", kTwoGpus).str(), "cuda:0");
  EXPECT_EQ(Found("cuda:0", kTwoGpus).str(), "cuda:0");
  EXPECT_EQ(Found("cuda:1", kTwoGpus).str(), "cuda:1");
  EXPECT_EQ(Found("auto", kTwoGpus).str(), "cuda:0");
}

TEST(FindDeviceTest, AutoIsTheCpuWithoutAGpu) {
  EXPECT_EQ(Found("auto", kNotBuilt).str(), "cpu");
  EXPECT_EQ(Found("auto", kNoDriver).str(), "cpu");
}

TEST(FindDeviceTest, SaysWhyThereIsNoGpu) {
  const absl::Status not_built = FindDevice("cuda", kNotBuilt).status();
  EXPECT_EQ(not_built.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(not_built.message(), HasSubstr("built without CUDA"));

  const absl::Status no_driver = FindDevice("cuda:1", kNoDriver).status();
  EXPECT_EQ(no_driver.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(no_driver.message(), AllOf(HasSubstr("cuda:1"), HasSubstr("no NVIDIA driver")));
}

TEST(FindDeviceTest, RefusesAGpuThatIsNotThere) {
  const absl::Status status = FindDevice("cuda:2", kTwoGpus).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("2 GPUs"), HasSubstr("cuda:1")));
}

TEST(FindDeviceTest, RefusesOtherWords) {
  for (const char* name : {"", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:1x",
                           "cuda:99999999999", "cuda0", "cudacuda", "cpu:0", "auto:1"}) {
    EXPECT_EQ(FindDevice(name, kTwoGpus).status().code(), absl::StatusCode::kInvalidArgument)
        << name;
  }
}

TEST(FindDeviceTest, TheCpuNeedsNoDriver) {
  const auto device = FindDevice("cpu");
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(DescribeDevice(*device), "cpu");
}

TEST(DeviceLaneTest, OnTheCpuWorkIsCalled) {
  DeviceLane lane(torch::kCPU);
  EXPECT_EQ(lane.Run([] { return 7; }), 7);
  // Not held while work runs: work may use the lane again.
  EXPECT_EQ(lane.Run([&] { return lane.Run([] { return 8; }); }), 8);
}

TEST(DeviceLaneTest, ExceptionsPass) {
  DeviceLane lane(torch::kCPU);
  EXPECT_THROW(lane.Run([]() -> int { throw std::runtime_error("broken"); }), std::runtime_error);
}

TEST(DeviceCopyTest, OnTheCpuUploadStacks) {
  const Tensor a = torch::arange(6, torch::kFloat32).view({2, 3}), b = a + 10;
  Tensor to = torch::empty({2, 2, 3});
  void* const where = to.data_ptr();

  Upload({a, b}, &to);

  EXPECT_TRUE(torch::equal(to, torch::stack({a, b})));
  EXPECT_EQ(to.data_ptr(), where);  // recorded work looks for it there
}

TEST(DeviceCopyTest, OnTheCpuTensorsAreWhereTheyAre) {
  const Tensor x = torch::randn({4});
  EXPECT_TRUE(ToDevice(x, torch::kCPU).is_same(x));
  EXPECT_TRUE(ToHost(x).is_same(x));
  EXPECT_FALSE(EmptyOnHost({2}, torch::kFloat32, torch::kCPU).is_pinned());
}

TEST(ErrorStatusTest, OutOfMemoryNamesTheBytes) {
  try {
    torch::empty({int64_t{1} << 50}, torch::kUInt8);
    FAIL() << "a pebibyte was allocated";
  } catch (const std::exception& error) {
    const absl::Status status = ErrorStatus(error, "denoising");
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(status.message(), AllOf(HasSubstr("denoising"), HasSubstr("1125899906842624")));
  }
  const c10::OutOfMemoryError of_a_gpu({"f", "file", 1}, "CUDA out of memory. Tried 20.00 GiB.");
  const absl::Status status = ErrorStatus(of_a_gpu, "decoding");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("20.00 GiB"));
  EXPECT_EQ(ErrorStatus(std::bad_alloc(), "decoding").code(), absl::StatusCode::kResourceExhausted);
}

TEST(ErrorStatusTest, OtherErrorsAreInternalAndOneLine) {
  const absl::Status status = ErrorStatus(std::runtime_error("broken\nstack trace"), "denoising");
  EXPECT_EQ(status, absl::InternalError("while denoising: broken"));
}

TEST(LruCacheTest, DropsWhatWasUnusedForLongest) {
  LruCache<int, std::string> cache(2);
  int made = 0;
  const auto get = [&](int key) { return cache.Get(key, [&] { return std::to_string(++made); }); };
  EXPECT_EQ(get(10), "1");
  EXPECT_EQ(get(20), "2");
  EXPECT_EQ(get(10), "1");  // now 20 is the older
  EXPECT_EQ(get(30), "3");
  EXPECT_EQ(get(10), "1");
  EXPECT_EQ(get(20), "4");
  EXPECT_EQ(cache.size(), 2u);
}

TEST(LruCacheTest, ValuesStayWhereTheyAre) {
  LruCache<int, int> cache(3);
  int* const first = &cache.Get(1, [] { return 1; });
  cache.Get(2, [] { return 2; });
  cache.Get(3, [] { return 3; });
  EXPECT_EQ(&cache.Get(1, [] { return 4; }), first);
}

TEST(LruCacheTest, KeepsNothingOfAFailedMake) {
  LruCache<int, int> cache(2);
  EXPECT_THROW(cache.Get(1, []() -> int { throw std::runtime_error("broken"); }),
               std::runtime_error);
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.Get(1, [] { return 5; }), 5);
}

TEST(LruCacheTest, DropsBeforeItMakes) {
  // So that two values more than there is room for are never in memory at once.
  LruCache<int, std::shared_ptr<int>> cache(1);
  const std::weak_ptr<int> first = cache.Get(1, [] { return std::make_shared<int>(1); });
  cache.Get(2, [&] {
    EXPECT_TRUE(first.expired());
    return std::make_shared<int>(2);
  });
}

}  // namespace
}  // namespace reenact
