#include "pipeline/models/cuda_support.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "ATen/core/CachingHostAllocator.h"
#include "ATen/cuda/CUDAGraph.h"
#include "c10/core/DeviceGuard.h"
#include "c10/cuda/CUDACachingAllocator.h"
#include "c10/cuda/CUDAFunctions.h"
#include "c10/cuda/CUDAStream.h"

namespace reenact {
namespace {

class CudaGraph final : public RecordedWork {
 public:
  // All graphs of a recorder share a memory pool: none runs beside another, and none keeps anything
  // in it between launches.
  CudaGraph(at::cuda::MempoolId_t pool, const std::function<void()>& work) {
    try {
      // Only this thread is held to what a capture allows; others allocate and decode meanwhile.
      graph_->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
      work();
      graph_->capture_end();
    } catch (...) {
      Abandon(pool);
      throw;
    }
  }

  void Launch() override { graph_->replay(); }

 private:
  // Takes stream and allocator out of a capture that broke, as far as it has not been done.
  void Abandon(at::cuda::MempoolId_t pool) {
    const auto quietly = [](const auto& step) {
      try {
        step();
      } catch (const std::exception&) {
        // Done already, or broken too: the exception on its way says by what.
      }
    };
    const c10::DeviceIndex device = c10::cuda::current_device();
    quietly([&] { graph_->capture_end(); });
    quietly([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool); });
    quietly([&] { at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(pool); });
    // The allocators may still ask it whether it is capturing. No other is made after this one.
    static_cast<void>(graph_.release());
  }

  std::unique_ptr<at::cuda::CUDAGraph> graph_ = std::make_unique<at::cuda::CUDAGraph>();
};

class CudaGraphRecorder final : public WorkRecorder {
 public:
  std::unique_ptr<RecordedWork> Record(const std::function<void()>& work) override {
    return std::make_unique<CudaGraph>(pool_, work);
  }

 private:
  const at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
};

}  // namespace

CudaState FindCuda() {
  CudaState state;
  state.built = true;
  try {
    const c10::DeviceIndex count = c10::cuda::device_count_ensure_non_zero();  // up to 127
    state.num_devices = static_cast<int>(count);
  } catch (const c10::Error& error) {
    state.problem = error.what_without_backtrace();
    state.problem = state.problem.substr(0, state.problem.find('\n'));
  }
  return state;
}

std::string CudaDeviceName(c10::Device device) {
  cudaDeviceProp properties = {};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device.index()));
  return properties.name;
}

int64_t FreeCudaMemory(c10::Device device) {
  const c10::DeviceGuard guard(device);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

void EndProcessIfCudaIsLost(c10::Device device, const char* what) {
  const c10::DeviceGuard guard(device);
  cudaGetLastError();  // forgets an error that does not stick
  const cudaError_t state = cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream(device.index()));
  if (state == cudaSuccess) return;
  std::fprintf(stderr, "%s failed (%s) and cannot be used any more; ending the process: %s\n",
               device.str().c_str(), cudaGetErrorString(state), what);
  std::abort();
}

std::unique_ptr<WorkRecorder> MakeCudaGraphRecorder() {
  return std::make_unique<CudaGraphRecorder>();
}

}  // namespace reenact
