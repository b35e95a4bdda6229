// What nccl_backend.h declares, for builds without NCCL.
#include "training/nccl_backend.h"

namespace reenact {

bool HasNccl() { return false; }

c10::intrusive_ptr<c10d::Backend> MakeNcclBackend(const c10::intrusive_ptr<c10d::Store>& /*store*/,
                                                  int /*rank*/, int /*size*/,
                                                  std::chrono::milliseconds /*timeout*/) {
  return nullptr;
}

}  // namespace reenact
