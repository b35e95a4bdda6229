#include "pipeline/models/device.h"

#include <new>

#include "ATen/Context.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "c10/core/impl/VirtualGuardImpl.h"

namespace reenact {

using torch::Tensor;

absl::StatusOr<torch::Device> FindDevice(absl::string_view name, const CudaState& cuda) {
  if (name == "cpu") return torch::Device(torch::kCPU);
  if (name == "auto") {
    return cuda.num_devices > 0 ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
  }
  int index = 0;
  absl::string_view rest = name;
  const bool known =
      absl::ConsumePrefix(&rest, "cuda") &&
      (rest.empty() || (absl::ConsumePrefix(&rest, ":") && !rest.empty() &&
                        rest.find_first_not_of("0123456789") == absl::string_view::npos &&
                        absl::SimpleAtoi(rest, &index)));
  if (!known) {
    return absl::InvalidArgumentError(
        absl::StrCat("device \"", name, "\" is not cpu, cuda, cuda:N or auto"));
  }
  if (!cuda.built) {
    return absl::FailedPreconditionError(absl::StrCat(
        "device ", name, ": this program was built without CUDA support (preset cuda)"));
  }
  if (cuda.num_devices == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("device ", name, ": no GPU can be used: ", cuda.problem));
  }
  if (index >= cuda.num_devices) {
    return absl::InvalidArgumentError(absl::StrCat("device ", name, ": there are ",
                                                   cuda.num_devices,
                                                   " GPUs, cuda:0 to cuda:", cuda.num_devices - 1));
  }
  return torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
}

absl::StatusOr<torch::Device> FindDevice(absl::string_view name) {
  return FindDevice(name, name == "cpu" ? CudaState() : FindCuda());
}

std::string DescribeDevice(torch::Device device) {
  if (device.is_cpu()) return "cpu";
  return absl::StrCat(device.str(), " (", CudaDeviceName(device), ")");
}

namespace {

std::optional<c10::Stream> NewStream(torch::Device device, bool urgent) {
  if (device.is_cpu()) return std::nullopt;
  at::globalContext().lazyInitDevice(device.type());
  // float32 is float32: convolutions would otherwise keep 11 bits of it.
  at::globalContext().setAllowTF32CuDNN(false);
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, urgent);
}

}  // namespace

DeviceLane::DeviceLane(torch::Device device, bool urgent)
    : device_(device), stream_(NewStream(device, urgent)) {}

Tensor EmptyOnHost(at::IntArrayRef sizes, torch::Dtype dtype, torch::Device device) {
  return torch::empty(sizes, torch::dtype(dtype).pinned_memory(!device.is_cpu()));
}

void Upload(const std::vector<Tensor>& parts, Tensor* to) {
  if (to->is_cpu()) {
    torch::stack_out(*to, parts);
    return;
  }
  Tensor staged = EmptyOnHost(to->sizes(), to->scalar_type(), to->device());
  torch::stack_out(staged, parts);
  to->copy_(staged, /*non_blocking=*/true);
}

Tensor ToDevice(const Tensor& host, torch::Device device) {
  if (device.is_cpu()) return host;
  Tensor staged = EmptyOnHost(host.sizes(), host.scalar_type(), device);
  staged.copy_(host);
  return staged.to(device, /*non_blocking=*/true);
}

Tensor ToHost(const Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  Tensor host = EmptyOnHost(tensor.sizes(), tensor.scalar_type(), tensor.device());
  host.copy_(tensor, /*non_blocking=*/true);
  return host;
}

absl::Status ErrorStatus(const std::exception& error, absl::string_view doing) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string what =
      torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  const std::string line = absl::StrCat("while ", doing, ": ", what.substr(0, what.find('\n')));
  const bool out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
                             dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
                             absl::StrContains(what, "DefaultCPUAllocator");
  return out_of_memory ? absl::ResourceExhaustedError(absl::StrCat("out of memory ", line))
                       : absl::InternalError(line);
}

}  // namespace reenact
