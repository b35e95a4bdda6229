#include "training/processes.h"

// Before any header of c10d.
#define USE_C10D_GLOO

#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "training/nccl_backend.h"

namespace reenact {
namespace {

constexpr std::chrono::minutes kTimeout(30);

absl::StatusOr<int> Number(const char* name, int min, int max) {
  const char* text = std::getenv(name);
  int value = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &value) || value < min || value > max) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is ", text == nullptr ? "not set" : text,
                                                   ", must be ", min, "..", max));
  }
  return value;
}

class C10dProcesses : public Processes {
 public:
  // `device`: where the backend wants its messages.
  C10dProcesses(int rank, int size, c10::intrusive_ptr<c10d::Backend> backend, torch::Device device)
      : rank_(rank), size_(size), backend_(std::move(backend)), device_(device) {}

  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }

  absl::Status Average(const std::vector<torch::Tensor>& tensors) override {
    torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> flat;
    for (const torch::Tensor& tensor : tensors) flat.push_back(tensor.detach().flatten());
    // One message: there are hundreds of tensors, most of them small.
    std::vector<torch::Tensor> message = {torch::cat(flat).to(device_)};
    try {
      backend_->allreduce(message, {})->wait();
    } catch (const std::exception& e) {
      return absl::UnavailableError(absl::StrCat("averaging over the processes: ", e.what()));
    }
    message[0].div_(size_);
    int64_t offset = 0;
    for (const torch::Tensor& tensor : tensors) {
      const torch::Tensor part = message[0].narrow(0, offset, tensor.numel());
      tensor.detach().copy_(part.view(tensor.sizes()));
      offset += tensor.numel();
    }
    return absl::OkStatus();
  }

  absl::Status Broadcast(torch::Tensor tensor) override {
    torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> message = {tensor.detach().to(device_)};
    try {
      backend_->broadcast(message, {})->wait();
    } catch (const std::exception& e) {
      return absl::UnavailableError(absl::StrCat("hearing from process 0: ", e.what()));
    }
    if (tensor.device() != device_) tensor.detach().copy_(message[0]);
    return absl::OkStatus();
  }

 private:
  const int rank_;
  const int size_;
  const c10::intrusive_ptr<c10d::Backend> backend_;
  const torch::Device device_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Processes>> Processes::FromEnvironment(ProcessBackend backend,
                                                                      torch::Device device) {
  if (backend == ProcessBackend::kNccl) {
    if (!HasNccl()) {
      return absl::FailedPreconditionError(
          "the backend nccl: this program was built without NCCL (scripts/setup.sh --cuda, preset "
          "cuda)");
    }
    if (!device.is_cuda()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the backend nccl needs --device cuda, not ", device.str()));
    }
  }
  if (std::getenv("WORLD_SIZE") == nullptr) return nullptr;
  const auto size = Number("WORLD_SIZE", 1, 1024);
  if (!size.ok()) return size.status();
  if (*size == 1) return nullptr;
  const auto rank = Number("RANK", 0, *size - 1);
  if (!rank.ok()) return rank.status();
  const auto port = Number("MASTER_PORT", 1, 65535);
  if (!port.ok()) return port.status();
  const char* host = std::getenv("MASTER_ADDR");
  if (host == nullptr) return absl::InvalidArgumentError("MASTER_ADDR is not set");
  // torchrun's agent keeps the store itself, one prefix for every restart.
  const char* agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  const bool agent_store = agent != nullptr && std::string(agent) == "True";
  const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(*port);
    options.isServer = *rank == 0 && !agent_store;
    options.numWorkers = *size;
    options.waitWorkers = !agent_store;
    options.timeout = kTimeout;
    c10::intrusive_ptr<c10d::Store> store =
        c10::make_intrusive<c10d::TCPStore>(std::string(host), options);
    store = c10::make_intrusive<c10d::PrefixStore>(
        absl::StrCat("reenact/", attempt == nullptr ? "0" : attempt), std::move(store));
    if (backend == ProcessBackend::kNccl) {
      return std::make_unique<C10dProcesses>(
          *rank, *size, MakeNcclBackend(store, *rank, *size, kTimeout), device);
    }
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
        store, *rank, *size, c10d::ProcessGroupGloo::Options::create_default(kTimeout));
    return std::make_unique<C10dProcesses>(*rank, *size, std::move(gloo), torch::kCPU);
  } catch (const std::exception& e) {
    return absl::UnavailableError(
        absl::StrCat("joining the processes at ", host, ":", *port, ": ", e.what()));
  }
}

std::string LocalDevice(const std::string& device) {
  const char* local_rank = std::getenv("LOCAL_RANK");
  if (device != "cuda" || local_rank == nullptr) return device;
  return absl::StrCat(device, ":", local_rank);
}

}  // namespace reenact
