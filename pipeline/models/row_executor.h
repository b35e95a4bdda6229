// Runs an sDiT for rows of many clips at once, by anchor trace: how the engine denoises.
//
// Row 0 of a clip (the anchor row) reads no other row, and the clip's other rows (followers) read
// of it only the anchor frame's keys and values, block by block. So the anchor row leaves those
// behind, its trace, and followers attend to it instead of computing the anchor frame: they hold T
// - 1 frames and do 1/T less work. The result is that of SDiT::forward with the anchor override, up
// to the rounding of the number format.
//
// Legend: T frames of a row, K frames a row computes (T, or T - 1 of a follower), S tokens of a
// frame, D hidden size, C latent channels.
//
// One Forward at a time; the other methods are thread-safe, also beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/models/sdit.h"
#include "torch/torch.h"

namespace reenact {

// The anchor frame's keys and values in every block, for one clip, denoising step and guidance
// half. Layout, dtype and device are the executor's own.
struct AnchorTrace {
  std::vector<torch::Tensor> blocks;

  int64_t bytes() const {
    int64_t sum = 0;
    for (const torch::Tensor& block : blocks) sum += block.numel() * block.element_size();
    return sum;
  }
};

// What is constant for a clip's source. SourceTokens::kSelf: its keys and values in every block;
// kJoint: its tokens and condition. Layout, dtype and device are the executor's own.
struct ExecutorSource {
  std::vector<torch::Tensor> tensors;
};

// One row of a Forward call. Pointers are borrowed for the call.
struct ExecutorRow {
  torch::Tensor x;      // [K, C, h, w] float32, noisy
  int64_t t = 0;        // training timestep
  torch::Tensor C;      // [K, D] float32, of the computed frames
  torch::Tensor extra;  // [K, S, D], EmbedMaps of the computed frames; undefined without maps
  const ExecutorSource* source = nullptr;  // null: no source tokens to see

  // The slot of the clip's anchor frame; none: rows that share nothing.
  std::optional<int64_t> anchor_slot;
  // An anchor row (K = T) leaves its trace here, if not null.
  AnchorTrace* record = nullptr;
  // A follower (K = T - 1: every slot but anchor_slot, in order) attends to this. It may be what
  // another row of the same call records.
  const AnchorTrace* trace = nullptr;
  // A follower may leave a trace too: that of this one of its K frames.
  int64_t recorded_frame = 0;
};

// Which of `row`'s frames leaves its trace.
inline int64_t RecordedFrame(const ExecutorRow& row) {
  return row.trace != nullptr ? row.recorded_frame : row.anchor_slot.value_or(0);
}

// In which rounds a call's rows can be computed: `of_traced`, 0 or 1, for rows that see a trace
// from before the call, 0 for those that see none, and else the round after that of the row that
// records the trace.
std::vector<int> Rounds(absl::Span<const ExecutorRow> rows, int of_traced);

enum class ExecutorDtype { kFloat32, kBfloat16 };

class RowExecutor {
 public:
  struct Options {
    ExecutorDtype dtype = ExecutorDtype::kFloat32;
    // A row's result depends on nothing but the row: bit-equal whatever shares the call. On by
    // default where it is free (rows are computed one by one).
    bool deterministic = false;

    // What follows is for the torch executor.
    // Where it computes, and keeps weights, sources and maps.
    torch::Device device = torch::kCPU;
    // Keep anchor traces in host memory and take them to the device when they are needed, rather
    // than on the device.
    bool traces_on_host = false;
    // On a GPU, record the work of a batch's shape when it comes for the second time and launch it
    // as one piece from then on: for the shapes used last, this many. 0: do not.
    int max_graphs = 16;
  };

  virtual ~RowExecutor() = default;

  virtual const SDiTConfig& config() const = 0;

  // -> for each row [K, out_channels, h, w] float32. Throws c10::Error (out of memory, a bug).
  virtual std::vector<torch::Tensor> Forward(absl::Span<const ExecutorRow> rows) = 0;

  // Landmark maps [N, S, landmark_map_channels()] float32 -> [N, S, D] to add to the frames'
  // tokens: the same in every step. Dtype and device are the executor's own. Only for networks with
  // landmark maps.
  virtual torch::Tensor EmbedMaps(const torch::Tensor& maps) = 0;

  // Arguments as SDiT::trace_source with a batch of 1. Only for networks with source tokens.
  virtual ExecutorSource TraceSource(const torch::Tensor& source_latent,
                                     const torch::Tensor& source_C,
                                     const std::optional<torch::Tensor>& source_landmark_map) = 0;

  // Bytes of one AnchorTrace.
  virtual int64_t trace_bytes() const = 0;
};

// Floating-point operations of one Forward of a row of `num_computed` frames (T, or T - 1 of a
// follower), a multiply-add counted as 2, in 1e9.
double RowGflop(const SDiTConfig& config, int64_t num_computed);

// libtorch operators on whole batches: any network, on any device. On the CPU the plain form that
// others are tested against.
absl::StatusOr<std::unique_ptr<RowExecutor>> MakeTorchExecutor(SDiT sdit,
                                                               const RowExecutor::Options& options);

// For CPUs: weights packed once for oneDNN, fused kernels, attention of our own (cpu_attention.h),
// rows computed side by side, one thread each. kUnimplemented: SourceTokens::kJoint.
absl::StatusOr<std::unique_ptr<RowExecutor>> MakeCpuExecutor(SDiT sdit,
                                                             const RowExecutor::Options& options);

}  // namespace reenact
