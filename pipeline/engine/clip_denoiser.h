// The reverse process of one clip, from noise to latents, in pieces: rows of it are stepped beside
// rows of other clips in one call of the executor. What the methods for long videos have in common:
// trace_denoiser.h, window_denoiser.h.
//
// Owned by one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/engine.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/row_executor.h"
#include "torch/torch.h"

namespace reenact {

class ClipDenoiser {
 public:
  virtual ~ClipDenoiser() = default;

  // Of the rows that are there; a row that runs again counts again.
  virtual int64_t total_row_steps() const = 0;
  virtual int64_t row_steps_done() const = 0;
  // Every row has ended, and none will come.
  virtual bool done() const = 0;
  // How many rows the next step may hold.
  virtual RowDemand demand() const = 0;
  // Rows that have not ended.
  virtual int num_open_rows() const = 0;

  // For a clip that was created incomplete, between two steps: one more row; no more rows. Throws
  // c10::Error if the method knows only whole clips.
  virtual void AddRow(std::vector<RowSlot> row);
  virtual void Complete();

  struct Share {
    ClipDenoiser* clip = nullptr;
    int num_rows = 0;  // within demand()
  };
  // Runs one denoising step of each share's rows in one call of the executor, which all clips were
  // created with; the clips are distinct. For each clip the frames it finished; after an error
  // (kInternal) that clip is lost, the others are not.
  static std::vector<absl::StatusOr<std::vector<FinishedFrame>>> Step(
      RowExecutor& executor, absl::Span<const Share> shares);

 protected:
  ClipDenoiser() = default;
  ClipDenoiser(const ClipDenoiser&) = default;
  ClipDenoiser(ClipDenoiser&&) = default;
  ClipDenoiser& operator=(const ClipDenoiser&) = default;
  ClipDenoiser& operator=(ClipDenoiser&&) = default;

  // What the clip's source is to the executor; none: it has none, or the network takes none.
  static std::optional<ExecutorSource> TraceSource(RowExecutor& executor,
                                                   const Conditions& conditions);

  // What the executor is to run for the next step of `num_rows` rows. Pointers are valid until
  // Finish. May be called again without Finish, for the same rows: what it gave has not run.
  virtual std::vector<ExecutorRow> Begin(int num_rows) = 0;
  // Takes what came of the rows that the last Begin gave.
  virtual absl::StatusOr<std::vector<FinishedFrame>> Finish(
      absl::Span<const torch::Tensor> outputs) = 0;
};

}  // namespace reenact
