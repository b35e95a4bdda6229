// What cuda_support.h declares, for builds without CUDA support: there is no GPU.
#include "pipeline/models/cuda_support.h"

namespace reenact {

CudaState FindCuda() { return {.built = false, .num_devices = 0, .problem = ""}; }

std::string CudaDeviceName(c10::Device /*device*/) { return ""; }

int64_t FreeCudaMemory(c10::Device /*device*/) { return 0; }

void EndProcessIfCudaIsLost(c10::Device /*device*/, const char* /*what*/) {}

std::unique_ptr<WorkRecorder> MakeCudaGraphRecorder() { return nullptr; }

}  // namespace reenact
