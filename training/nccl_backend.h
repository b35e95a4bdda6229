// c10d's NCCL backend: compiled by nccl_backend.cc where libtorch and CUDA's headers have it, and
// absent by nccl_backend_none.cc where not; nothing else knows NCCL's headers.
#pragma once

#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace reenact {

// Whether this build has it.
bool HasNccl();

// Joins the others who share `store`. Its tensors must be on one GPU of this process. Null without
// NCCL; throws c10::Error.
c10::intrusive_ptr<c10d::Backend> MakeNcclBackend(const c10::intrusive_ptr<c10d::Store>& store,
                                                  int rank, int size,
                                                  std::chrono::milliseconds timeout);

}  // namespace reenact
