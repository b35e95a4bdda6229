// Devices that cannot be had end the start, before a bundle is read, with the reason.
#include "pipeline/models/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/reenactor/reenactor.h"

namespace reenact {
namespace {

absl::Status StartOn(const std::string& device) {
  ReenactorOptions options;
  options.bundles = {"/nonexistent"};
  options.device = device;
  return CreateReenactor(options).status();
}

TEST(ReenactorDeviceTest, UnknownDevicesAreInvalid) {
  const absl::Status status = StartOn("gpu");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("\"gpu\""));
}

TEST(ReenactorDeviceTest, AMissingGpuIsAFailedPrecondition) {
  if (FindCuda().num_devices > 0) GTEST_SKIP() << "there is a GPU";
  const absl::Status status = StartOn("cuda");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("device cuda"));
}

TEST(ReenactorDeviceTest, TheCpuIsAlwaysThere) {
  for (const char* device : {"cpu", "auto"}) {
    EXPECT_EQ(StartOn(device).code(), absl::StatusCode::kNotFound);  // the bundle
  }
}

}  // namespace
}  // namespace reenact
