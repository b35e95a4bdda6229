// The choice of MakeCpuExecutor (row_executor.h) in the open, for tests and measurements.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "pipeline/models/row_executor.h"

namespace reenact {

// kPortable: libtorch operators, on any processor. kNative: the kernels of cpu_kernels.h.
enum class CpuPath { kPortable, kNative };

// Whether there are kernels for the network's shape on this processor: what MakeCpuExecutor goes
// by.
bool HasNativeCpuPath(const SDiTConfig& config, ExecutorDtype dtype);

// kUnimplemented: SourceTokens::kJoint. kFailedPrecondition: kNative where HasNativeCpuPath is
// false.
absl::StatusOr<std::unique_ptr<RowExecutor>> MakeCpuExecutor(SDiT sdit,
                                                             const RowExecutor::Options& options,
                                                             CpuPath path);

}  // namespace reenact
