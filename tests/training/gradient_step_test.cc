#include "training/gradient_step.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdlib>

#include "pipeline/weights/safetensors.h"
#include "tests/training/tiny_data.h"
#include "training/autoencoder_trainer.h"
#include "training/nccl_backend.h"

extern char** environ;

namespace reenact {
namespace {

AutoencoderTrainingOptions TinyOptions() {
  AutoencoderTrainingOptions options;
  options.block_out_channels = {8, 8};
  options.norm_num_groups = 4;
  options.crop = 16;
  options.batch = 4;
  options.bfloat16 = false;  // whose rounding depends on the batch's shape
  return options;
}

std::unique_ptr<AutoencoderTrainee> Make(const AutoencoderTrainingOptions& options) {
  auto trainee = AutoencoderTrainee::Create(options, testing::TinyData(), nullptr);
  if (!trainee.ok()) throw std::runtime_error(trainee.status().ToString());
  return *std::move(trainee);
}

// The gradient of step 3 on batches of `batch`.
TensorMap GradientOf(int64_t batch, const GradientOptions& gradient) {
  AutoencoderTrainingOptions options = TinyOptions();
  options.batch = batch;
  options.gradient = gradient;
  const auto trainee = Make(options);
  const auto result = trainee->BackPropagate(3);
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return testing::TakeGradients(trainee->parameters());
}

TEST(ComputeGradientTest, MicroBatchesHaveTheGradientOfTheWhole) {
  testing::ExpectSameGradients(GradientOf(8, {}), GradientOf(2, {.accumulate = 4}));
}

TEST(ComputeGradientTest, OtherStepsSeeOtherRows) {
  const auto trainee = Make(TinyOptions());
  const auto first = trainee->BackPropagate(3);
  testing::TakeGradients(trainee->parameters());
  const auto second = trainee->BackPropagate(4);

  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(first->loss, second->loss);
}

// A port that nobody used a moment ago.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw std::runtime_error("no free port");
  }
  close(fd);
  return ntohs(address.sin_port);
}

// This program again as process `rank` of two, running one disabled case. The result is its id.
pid_t SpawnRank(int rank, int port, const std::string& folder, const std::string& test_case) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    // Not the harness's own choice of cases.
    if (std::string_view(*entry).starts_with("GTEST_") ||
        std::string_view(*entry).starts_with("TEST_")) {
      continue;
    }
    variables.emplace_back(*entry);
  }
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"RANK", std::to_string(rank)},
                                          {"WORLD_SIZE", "2"},
                                          {"MASTER_ADDR", "127.0.0.1"},
                                          {"MASTER_PORT", std::to_string(port)},
                                          {"GLOO_SOCKET_IFNAME", "lo"},
                                          {"REENACT_TEST_FOLDER", folder}}) {
    variables.push_back(name + "=" + value);
  }
  std::vector<std::string> arguments = {"rank", "--gtest_also_run_disabled_tests",
                                        "--gtest_filter=" + test_case};
  std::vector<char*> argv, envp;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  for (std::string& variable : variables) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  pid_t pid = 0;
  if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv.data(), envp.data()) != 0) {
    throw std::runtime_error("cannot start a process");
  }
  return pid;
}

bool Succeeded(pid_t pid) {
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(ProcessesTest, TwoProcessesHaveTheGradientOfTheDoubleBatch) {
  const std::string folder = testing::FreshFolder();
  const int port = FreePort();
  const pid_t first = SpawnRank(0, port, folder, "ProcessRoleTest.DISABLED_Gradient");
  const pid_t second = SpawnRank(1, port, folder, "ProcessRoleTest.DISABLED_Gradient");

  ASSERT_TRUE(Succeeded(first));
  ASSERT_TRUE(Succeeded(second));

  const TensorMap alone = GradientOf(8, {});
  for (const char* rank : {"0", "1"}) {
    const auto file = ReadSafetensors(folder + "/gradient-" + rank + ".safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    testing::ExpectSameGradients(alone, file->tensors);
  }
}

// One of the two processes above.
TEST(ProcessRoleTest, DISABLED_Gradient) {
  const char* folder = std::getenv("REENACT_TEST_FOLDER");
  ASSERT_NE(folder, nullptr);
  const auto processes = Processes::FromEnvironment();
  ASSERT_TRUE(processes.ok()) << processes.status();
  ASSERT_NE(*processes, nullptr);
  EXPECT_EQ((*processes)->size(), 2);

  const TensorMap gradient = GradientOf(4, {.processes = processes->get()});

  const std::string path =
      std::string(folder) + "/gradient-" + std::to_string((*processes)->rank()) + ".safetensors";
  ASSERT_TRUE(WriteSafetensors(path, gradient, {}).ok());
}

TEST(ProcessesTest, TwoProcessesTrainWhatOneDoesOnTheDoubleBatch) {
  const std::string folder = testing::FreshFolder();
  const int port = FreePort();
  const pid_t first = SpawnRank(0, port, folder, "ProcessRoleTest.DISABLED_Run");
  const pid_t second = SpawnRank(1, port, folder, "ProcessRoleTest.DISABLED_Run");
  ASSERT_TRUE(Succeeded(first));
  ASSERT_TRUE(Succeeded(second));

  AutoencoderTrainingOptions options = TinyOptions();
  options.batch = 8;
  RunOptions run;
  run.out = folder + "/alone";
  run.steps = 4;
  run.log_every = 1;
  std::ostringstream log;
  const auto trainee = Make(options);
  ASSERT_TRUE(RunTraining(run, *trainee, log).ok());

  const auto losses = [](const std::string& at) {
    std::vector<double> values;
    for (const std::string& row : testing::LossColumn(at)) {
      values.push_back(std::stod(row.substr(row.find(':') + 1)));
    }
    return values;
  };
  const auto together = losses(folder + "/together"), alone = losses(folder + "/alone");
  ASSERT_EQ(together.size(), 4u);
  ASSERT_EQ(alone.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(together[i], alone[i], 1e-3 * alone[i]) << i;
}

TEST(ProcessRoleTest, DISABLED_Run) {
  const char* folder = std::getenv("REENACT_TEST_FOLDER");
  ASSERT_NE(folder, nullptr);
  const auto processes = Processes::FromEnvironment();
  ASSERT_TRUE(processes.ok()) << processes.status();
  AutoencoderTrainingOptions options = TinyOptions();
  options.gradient.processes = processes->get();
  RunOptions run;
  run.out = std::string(folder) + "/together";
  run.steps = 4;
  run.log_every = 1;
  run.processes = processes->get();
  std::ostringstream log;
  const auto trainee = Make(options);

  const auto summary = RunTraining(run, *trainee, log);

  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->step, 4);
}

TEST(ProcessesTest, OneProcessNeedsNoOthers) {
  unsetenv("WORLD_SIZE");
  const auto none = Processes::FromEnvironment();
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
}

TEST(ProcessesTest, NcclNeedsABuildWithItAndAGpu) {
  unsetenv("WORLD_SIZE");
  const auto processes = Processes::FromEnvironment(ProcessBackend::kNccl);

  EXPECT_EQ(processes.status().code(),
            HasNccl() ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(processes.status().message()),
      ::testing::HasSubstr(HasNccl() ? "needs --device cuda, not cpu" : "built without NCCL"));
}

TEST(LocalDeviceTest, IsTheGpuOfTheLocalRank) {
  unsetenv("LOCAL_RANK");
  EXPECT_EQ(LocalDevice("cuda"), "cuda");
  setenv("LOCAL_RANK", "3", 1);
  EXPECT_EQ(LocalDevice("cuda"), "cuda:3");
  EXPECT_EQ(LocalDevice("cuda:1"), "cuda:1");
  EXPECT_EQ(LocalDevice("cpu"), "cpu");
  unsetenv("LOCAL_RANK");
}

TEST(ProcessesTest, AMissingVariableIsNamed) {
  setenv("WORLD_SIZE", "2", 1);
  unsetenv("RANK");

  const auto processes = Processes::FromEnvironment();

  unsetenv("WORLD_SIZE");
  EXPECT_EQ(processes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(processes.status().message()), ::testing::HasSubstr("RANK is not set"));
}

}  // namespace
}  // namespace reenact
