// Where networks compute: what --device says, and how work and tensors get onto a device and back.
//
// A device's work runs in lanes: one thread at a time puts work into a lane, and waits for its end
// before it leaves. So no tensor leaves a lane unfinished, no lane waits for another, and memory
// may be freed by anybody at any time between two uses. On the CPU all of this is a function call.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "c10/core/StreamGuard.h"
#include "pipeline/models/cuda_support.h"
#include "torch/torch.h"

namespace reenact {

// "cpu"; "cuda", the first GPU; "cuda:N"; "auto", the first GPU if one can be used, else the CPU.
// kInvalidArgument: none of these, or there is no N-th GPU. kFailedPrecondition: there is none at
// all; the message says why.
absl::StatusOr<torch::Device> FindDevice(absl::string_view name);
// The same for GPUs as `cuda` says, for tests.
absl::StatusOr<torch::Device> FindDevice(absl::string_view name, const CudaState& cuda);

// For people: "cpu", or "cuda:0 (NVIDIA H100 80GB HBM3)".
std::string DescribeDevice(torch::Device device);

// Thread-safe.
class DeviceLane {
 public:
  // `urgent`: before the work of other lanes, where the device can choose.
  explicit DeviceLane(torch::Device device, bool urgent = false);

  torch::Device device() const { return device_; }

  // Calls work(), which computes on device(), and returns its value when the device has done it. On
  // a GPU one caller at a time. Exceptions pass, if the device survived what they tell of.
  template <typename Work>
  auto Run(Work&& work) -> decltype(work()) {
    if (!stream_.has_value()) return work();
    const absl::MutexLock lock(&mu_);
    const c10::StreamGuard guard(*stream_);
    try {
      auto value = work();
      stream_->synchronize();
      return value;
    } catch (const std::exception& error) {
      EndProcessIfCudaIsLost(device_, error.what());
      throw;
    }
  }

 private:
  const torch::Device device_;
  const std::optional<c10::Stream> stream_;  // none: the CPU
  absl::Mutex mu_;                           // held while the stream is in use
};

// Host memory that `device` copies from and to by itself; on the CPU plain memory.
torch::Tensor EmptyOnHost(at::IntArrayRef sizes, torch::Dtype dtype, torch::Device device);

// Copies into or out of a device; what they start is done when the lane's Run returns. `to` becomes
// the host tensors `parts` stacked, [n, ...].
void Upload(const std::vector<torch::Tensor>& parts, torch::Tensor* to);
torch::Tensor ToDevice(const torch::Tensor& host, torch::Device device);
torch::Tensor ToHost(const torch::Tensor& tensor);

// kResourceExhausted: memory ran out, of a device or of the host (libtorch's message says how many
// bytes were asked for); kInternal: anything else. First line only, the rest is a stack trace.
absl::Status ErrorStatus(const std::exception& error, absl::string_view doing);

}  // namespace reenact
