// The processes of one data-parallel training: libtorch's c10d with the backend gloo, or nccl
// between GPUs.
//
// Started by torchrun or anything else that sets its variables RANK, WORLD_SIZE, MASTER_ADDR and
// MASTER_PORT. Every process makes the same calls in the same order; each call waits for the others
// (at most 30 minutes) and fails if one of them is gone.
//
// Thread-compatible.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reenact {

enum class ProcessBackend { kGloo, kNccl };

class Processes {
 public:
  virtual ~Processes() = default;

  // Null without WORLD_SIZE or where it is 1. kNccl needs `device` to be a GPU of this process
  // alone. kInvalidArgument: it is none, or a variable is missing or no number;
  // kFailedPrecondition: this build has no NCCL; kUnavailable: the others cannot be reached.
  static absl::StatusOr<std::unique_ptr<Processes>> FromEnvironment(
      ProcessBackend backend = ProcessBackend::kGloo, torch::Device device = torch::kCPU);

  virtual int64_t rank() const = 0;  // 0 .. size - 1; 0 writes the files
  virtual int64_t size() const = 0;
  // Every tensor becomes its mean over the processes. Float32, the same shapes everywhere, all on
  // one device, whichever that is.
  virtual absl::Status Average(const std::vector<torch::Tensor>& tensors) = 0;
  // Every process gets rank 0's values.
  virtual absl::Status Broadcast(torch::Tensor tensor) = 0;
};

// A device as --device says it: "cuda" is, in one of several processes of a machine, the GPU of its
// number there (torchrun's LOCAL_RANK). Anything else stays what it is.
std::string LocalDevice(const std::string& device);

}  // namespace reenact
