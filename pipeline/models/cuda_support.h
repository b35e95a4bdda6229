// All of CUDA that libtorch's device-neutral interface does not offer. cuda_support.cc is compiled
// in builds with REENACT_WITH_CUDA, cuda_support_none.cc in the others; nothing else knows CUDA's
// headers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "c10/core/Device.h"

namespace reenact {

// Whether there are GPUs this process can use.
struct CudaState {
  bool built = false;   // the build has CUDA support
  int num_devices = 0;  // 0: `problem` says why
  std::string problem;
};
CudaState FindCuda();

// Of a GPU that there is. The name is the driver's.
std::string CudaDeviceName(c10::Device device);
// Bytes that this process could still allocate.
int64_t FreeCudaMemory(c10::Device device);

// After an exception while a GPU was in use. Some errors (an illegal address, a GPU that fell off
// the bus) leave a process in which every later call fails: then this prints `what` and ends the
// process, to be started anew. Returns if the GPU still answers.
void EndProcessIfCudaIsLost(c10::Device device, const char* what);

// Recorded work, to be launched again as one piece.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  // On the current stream, any number of times, one at a time.
  virtual void Launch() = 0;
};

// Records work. Used by one thread at a time; must outlive what it has recorded.
class WorkRecorder {
 public:
  virtual ~WorkRecorder() = default;
  // Calls `work` once; what it would launch on the current stream is recorded and does not run. It
  // must have run before with the same shapes (libraries choose kernels and take memory then), must
  // not wait for the device, and may share only tensors with the outside that outlive the record.
  // Throws c10::Error; to be given up then.
  virtual std::unique_ptr<RecordedWork> Record(const std::function<void()>& work) = 0;
};

// By CUDA graphs, for a current stream that is not the default one. Null in a build without CUDA
// support.
std::unique_ptr<WorkRecorder> MakeCudaGraphRecorder();

}  // namespace reenact
