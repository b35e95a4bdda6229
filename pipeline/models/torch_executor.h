// MakeTorchExecutor (row_executor.h) with the recorder in the open, for tests.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "pipeline/models/cuda_support.h"
#include "pipeline/models/row_executor.h"

namespace reenact {

// `recorder` records the work of batches; null: nothing is recorded.
absl::StatusOr<std::unique_ptr<RowExecutor>> MakeTorchExecutor(
    SDiT sdit, const RowExecutor::Options& options, std::unique_ptr<WorkRecorder> recorder);

}  // namespace reenact
