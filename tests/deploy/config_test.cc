// The configuration that the image and the manifests ship is one the server accepts.
#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reenact {
namespace {

TEST(DeployConfigTest, ServerAcceptsTheShippedFile) {
  const std::string path = std::string(REENACT_SOURCE_DIR) + "/deploy/base/reenactd.toml";

  const absl::StatusOr<CommandLine> command_line = ParseServerConfig({"--config", path});

  ASSERT_TRUE(command_line.ok()) << command_line.status();
  EXPECT_THAT(command_line->config.listen, ::testing::ElementsAre("0.0.0.0:50051"));
  EXPECT_EQ(command_line->config.metrics_listen, "0.0.0.0:9464");
  EXPECT_EQ(command_line->config.drain_timeout, absl::Minutes(5));
  EXPECT_EQ(command_line->config.bundles.size(), 1u);
}

}  // namespace
}  // namespace reenact
