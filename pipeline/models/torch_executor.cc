// A call's rows are put into batches of one shape, and a batch's work reads and writes only tensors
// made for that shape: rows are packed into them, and what comes out is handed out. So the work of
// a shape can be recorded and launched again.
//
// Attention on a GPU: no head is padded here, and none whose size is a multiple of 8, as DiT-XL's
// 72, by libtorch (pytorch, aten/src/ATen/native/transformers/attention.cpp, pad_last_dim). There
// is no mask, which the flash kernel would not take. That kernel rounds 72 columns up to 96 inside
// a tile (flash_attn/flash_api.cpp, head_size_rounded), without reading or writing what is beyond.
#include "pipeline/models/torch_executor.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <map>
#include <optional>
#include <utility>

#include "pipeline/models/device.h"
#include "pipeline/models/lru_cache.h"
#include "pipeline/weights/load.h"

namespace reenact {
namespace {

using torch::Tensor;

// What makes rows one batch: equal in the frames they compute, in what they attend to and in
// whether they leave a trace.
struct BatchShape {
  int64_t num_rows = 0;    // B
  int64_t num_frames = 0;  // K
  bool extra = false, trace = false, source = false, record = false;

  bool operator==(const BatchShape&) const = default;
};

// The tensors of one shape, on the device; those the shape does not need are undefined.
struct Batch {
  Tensor x;        // [B, K, C, h, w] float32
  Tensor C;        // [B, K, D] float32
  Tensor t;        // [B] int64
  Tensor slots;    // [B, K] int64: which of the row's T frames are computed
  Tensor extra;    // [B, K, S, D]
  Tensor context;  // [B, depth, 2, heads, n S, d]: keys and values of the trace, of the source
  Tensor source_x, source_c;  // kJoint: [B, 1, S, D], [B, 1, D]
  Tensor anchors;             // [B] int64: the anchor frames among the batch's B * K

  Tensor pictures;  // [B, K, out_channels, h, w] float32
  Tensor traces;    // [B, depth, 2, heads, S, d]

  bool has_run = false;
  std::unique_ptr<RecordedWork> recorded;
};

class TorchExecutor final : public RowExecutor {
 public:
  // `sdit` is on the device and in the dtype.
  TorchExecutor(SDiT sdit, const Options& options, std::unique_ptr<WorkRecorder> recorder)
      : sdit_(std::move(sdit)),
        options_(options),
        dtype_(options.dtype == ExecutorDtype::kBfloat16 ? torch::kBFloat16 : torch::kFloat32),
        lane_(options.device),
        preparation_lane_(options.device),
        recorder_(std::move(recorder)),
        recording_(recorder_ != nullptr),
        batches_(static_cast<size_t>(std::max(options.max_graphs, 1))) {}

  const SDiTConfig& config() const override { return sdit_->config(); }

  std::vector<Tensor> Forward(absl::Span<const ExecutorRow> rows) override {
    const c10::InferenceMode inference;
    std::vector<Tensor> outputs(rows.size());
    for (const std::vector<size_t>& group : Groups(rows)) {
      std::vector<ExecutorRow> members;
      for (const size_t i : group) members.push_back(rows[i]);
      const Tensor pictures = lane_.Run([&] { return ForwardGroup(members); });
      for (size_t b = 0; b < group.size(); ++b) {
        outputs[group[b]] = pictures[static_cast<int64_t>(b)];
      }
    }
    return outputs;
  }

  Tensor EmbedMaps(const Tensor& maps) override {
    const c10::InferenceMode inference;
    return preparation_lane_.Run([&] { return sdit_->embed_map(ToDevice(maps, options_.device)); });
  }

  ExecutorSource TraceSource(const Tensor& source_latent, const Tensor& source_C,
                             const std::optional<Tensor>& source_landmark_map) override {
    const c10::InferenceMode inference;
    return preparation_lane_.Run([&] {
      std::optional<Tensor> map;
      if (source_landmark_map.has_value()) map = ToDevice(*source_landmark_map, options_.device);
      const Tensor latent = Take(source_latent), C = Take(source_C);
      ExecutorSource source;
      if (joint()) {
        const auto frame = sdit_->embed_source(latent, C, map);
        source.tensors = {frame.x[0], frame.c[0]};  // [1, S, D], [1, D]
        return source;
      }
      std::vector<Tensor> blocks;
      for (const KeyValues& block : sdit_->trace_source(latent, C, map).blocks) {
        blocks.push_back(torch::stack({block.k[0], block.v[0]}));
      }
      source.tensors = {torch::stack(blocks)};  // [depth, 2, heads, S, d]
      return source;
    });
  }

  int64_t trace_bytes() const override {
    return config().depth * 2 * tokens() * config().hidden_size *
           static_cast<int64_t>(c10::elementSize(dtype_));
  }

 private:
  bool joint() const { return config().source == SourceTokens::kJoint; }
  int64_t tokens() const { return config().tokens_side() * config().tokens_side(); }
  torch::TensorOptions On(torch::Dtype dtype) const {
    return torch::dtype(dtype).device(options_.device);
  }
  Tensor Take(const Tensor& host) const { return ToDevice(host, options_.device).to(dtype_); }

  static BatchShape ShapeOf(const ExecutorRow& row) {
    return {.num_rows = 1,
            .num_frames = row.x.size(0),
            .extra = row.extra.defined(),
            .trace = row.trace != nullptr,
            .source = row.source != nullptr,
            .record = row.record != nullptr};
  }

  // Indices of the rows of each batch, in the order in which batches can run: those with no trace
  // to see come first, as followers of the same call read what they leave.
  std::vector<std::vector<size_t>> Groups(absl::Span<const ExecutorRow> rows) const {
    const std::vector<int> rounds = Rounds(rows, /*of_traced=*/1);
    std::vector<std::vector<size_t>> groups;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto group =
          std::find_if(groups.begin(), groups.end(), [&](const std::vector<size_t>& candidate) {
            return !options_.deterministic && rounds[candidate[0]] == rounds[i] &&
                   ShapeOf(rows[candidate[0]]) == ShapeOf(rows[i]);
          });
      if (group == groups.end()) {
        groups.push_back({i});
      } else {
        group->push_back(i);
      }
    }
    std::stable_sort(groups.begin(), groups.end(),
                     [&](const std::vector<size_t>& a, const std::vector<size_t>& b) {
                       return rounds[a[0]] < rounds[b[0]];
                     });
    return groups;
  }

  // -> [B, K, out_channels, h, w] in host memory of its own.
  Tensor ForwardGroup(const std::vector<ExecutorRow>& rows) {
    BatchShape shape = ShapeOf(rows[0]);
    shape.num_rows = static_cast<int64_t>(rows.size());
    // Without a recorder there is nothing to keep tensors for.
    std::optional<Batch> lone;
    Batch& batch = recorder_ != nullptr ? batches_.Get(shape, [&] { return MakeBatch(shape); })
                                        : lone.emplace(MakeBatch(shape));
    Fill(rows, &batch);
    Launch(shape, &batch);
    if (shape.record) HandOutTraces(rows, batch);
    if (!batch.pictures.is_cpu()) return ToHost(batch.pictures);
    return lone.has_value() ? batch.pictures : batch.pictures.clone();
  }

  Batch MakeBatch(const BatchShape& shape) const {
    const SDiTConfig& c = config();
    const int64_t B = shape.num_rows, K = shape.num_frames, S = tokens(), D = c.hidden_size;
    const int64_t side = c.latent_size, d = D / c.num_heads;
    // Frames that are seen beside the row's own, block by block.
    const int64_t others = (shape.trace ? 1 : 0) + (shape.source && !joint() ? 1 : 0);
    Batch batch;
    batch.x = torch::empty({B, K, c.latent_channels, side, side}, On(torch::kFloat32));
    batch.C = torch::empty({B, K, D}, On(torch::kFloat32));
    batch.t = torch::empty({B}, On(torch::kInt64));
    batch.slots = torch::empty({B, K}, On(torch::kInt64));
    if (shape.extra) batch.extra = torch::empty({B, K, S, D}, On(dtype_));
    if (others > 0) {
      batch.context = torch::empty({B, c.depth, 2, c.num_heads, others * S, d}, On(dtype_));
    }
    if (shape.source && joint()) {
      batch.source_x = torch::empty({B, 1, S, D}, On(dtype_));
      batch.source_c = torch::empty({B, 1, D}, On(dtype_));
    }
    batch.pictures = torch::empty({B, K, c.out_channels(), side, side}, On(torch::kFloat32));
    if (shape.record) {
      batch.anchors = torch::empty({B}, On(torch::kInt64));
      batch.traces = torch::empty({B, c.depth, 2, c.num_heads, S, d}, On(dtype_));
    }
    return batch;
  }

  void Fill(const std::vector<ExecutorRow>& rows, Batch* batch) const {
    const int64_t K = batch->x.size(1), S = tokens();
    std::vector<Tensor> x, C, t, slots, extra, source_x, source_c, anchors;
    for (size_t i = 0; i < rows.size(); ++i) {
      const ExecutorRow& row = rows[i];
      const auto b = static_cast<int64_t>(i);
      x.push_back(row.x);
      C.push_back(row.C);
      t.push_back(torch::scalar_tensor(row.t, torch::kInt64));
      Tensor slot = torch::arange(K, torch::kInt64);
      if (row.trace != nullptr) slot += slot.ge(row.anchor_slot.value());
      slots.push_back(slot);
      if (batch->extra.defined()) extra.push_back(row.extra);
      if (batch->anchors.defined()) {
        anchors.push_back(torch::scalar_tensor(b * K + RecordedFrame(row), torch::kInt64));
      }
      if (batch->source_x.defined()) {
        source_x.push_back(row.source->tensors[0]);
        source_c.push_back(row.source->tensors[1]);
      }
      int64_t seen = 0;
      const auto see = [&](const Tensor& frame) {  // on the device or the host
        batch->context[b].narrow(3, S * seen++, S).copy_(frame, /*non_blocking=*/true);
      };
      if (row.trace != nullptr) see(row.trace->blocks[0]);
      if (row.source != nullptr && !joint()) see(row.source->tensors[0]);
    }
    Upload(x, &batch->x);
    Upload(C, &batch->C);
    Upload(t, &batch->t);
    Upload(slots, &batch->slots);
    if (!extra.empty()) torch::stack_out(batch->extra, extra);
    if (!anchors.empty()) Upload(anchors, &batch->anchors);
    if (!source_x.empty()) {
      torch::stack_out(batch->source_x, source_x);
      torch::stack_out(batch->source_c, source_c);
    }
  }

  void Launch(const BatchShape& shape, Batch* batch) {
    if (batch->recorded == nullptr && batch->has_run && recording_) {
      try {
        batch->recorded = recorder_->Record([&] { Compute(shape, batch); });
      } catch (const c10::Error& error) {
        recording_ = false;  // slower, not wrong
        TORCH_WARN("steps are not recorded any more: ", error.what_without_backtrace());
      }
    }
    if (batch->recorded != nullptr) {
      batch->recorded->Launch();
    } else {
      Compute(shape, batch);
      batch->has_run = true;
    }
  }

  // From the batch's inputs to its outputs. May be recorded.
  void Compute(const BatchShape& shape, Batch* batch) {
    const int64_t B = shape.num_rows, K = shape.num_frames;
    Tensor c = sdit_->t_embedder()(batch->t).unsqueeze(1) + batch->C.to(dtype_);  // [B, K, D]
    // The landmark map's part has been made before: what is left is the picture's.
    Tensor x = sdit_->embed_picture(batch->x.to(dtype_).flatten(0, 1)).unflatten(0, {B, K});
    if (shape.extra) x = x + batch->extra;
    const Tensor positions = sdit_->temporal_pos_embed()[0];  // [T, D]
    x = x + positions
                .index_select(0, batch->slots.flatten())  // [B * K, D]
                .view({B, K, 1, config().hidden_size});   // [B, K, S, D]
    if (batch->source_x.defined()) {
      x = torch::cat({x, batch->source_x}, 1);  // [B, K + 1, S, D]
      c = torch::cat({c, batch->source_c}, 1);
    }
    const auto& blocks = sdit_->blocks();
    for (size_t i = 0; i < blocks.size(); ++i) {
      DiTBlock block = blocks[i];
      const auto at = static_cast<int64_t>(i);
      if (shape.record) {
        const auto of_anchors = [&](const Tensor& X) {
          return X.narrow(1, 0, K).flatten(0, 1).index_select(0, batch->anchors).unsqueeze(1);
        };
        const KeyValues kv = block->keys_values(of_anchors(x), of_anchors(c));
        const Tensor traces = batch->traces.select(1, at);  // [B, 2, heads, S, d]
        traces.select(1, 0).copy_(kv.k);
        traces.select(1, 1).copy_(kv.v);
      }
      KeyValues context;
      if (batch->context.defined()) {
        const Tensor all = batch->context.select(1, at);  // [B, 2, heads, n S, d]
        context = {.k = all.select(1, 0), .v = all.select(1, 1)};
      }
      x = block(x, c, context);
    }
    x = sdit_->final_layer()(x.narrow(1, 0, K), c.narrow(1, 0, K));
    batch->pictures.copy_(Unpatchify(x, config().patch_size, config().out_channels()));
  }

  void HandOutTraces(const std::vector<ExecutorRow>& rows, const Batch& batch) const {
    for (size_t i = 0; i < rows.size(); ++i) {
      const Tensor trace = batch.traces[static_cast<int64_t>(i)];
      rows[i].record->blocks = {options_.traces_on_host && !trace.is_cpu() ? ToHost(trace)
                                                                           : trace.clone()};
    }
  }

  SDiT sdit_;
  const Options options_;
  const torch::Dtype dtype_;
  DeviceLane lane_, preparation_lane_;
  const std::unique_ptr<WorkRecorder> recorder_;
  bool recording_;
  LruCache<BatchShape, Batch> batches_;
};

// A copy on the device and in the dtype, or the network itself if it is there already.
absl::StatusOr<SDiT> PlaceNetwork(SDiT sdit, const RowExecutor::Options& options) {
  if (options.device.is_cpu() && options.dtype == ExecutorDtype::kFloat32) return sdit;
  SDiT copy(sdit->config());
  if (auto status = LoadWeights(*copy, StateDict(*sdit)); !status.ok()) return status;
  DeviceLane lane(options.device);
  return lane.Run([&] {
    copy->to(options.device,
             options.dtype == ExecutorDtype::kBfloat16 ? torch::kBFloat16 : torch::kFloat32);
    copy->eval();
    return copy;
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeTorchExecutor(
    SDiT sdit, const RowExecutor::Options& options, std::unique_ptr<WorkRecorder> recorder) {
  auto placed = PlaceNetwork(std::move(sdit), options);
  if (!placed.ok()) return placed.status();
  return std::make_unique<TorchExecutor>(*std::move(placed), options, std::move(recorder));
}

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeTorchExecutor(
    SDiT sdit, const RowExecutor::Options& options) {
  const bool record = options.device.is_cuda() && options.max_graphs > 0;
  return MakeTorchExecutor(std::move(sdit), options, record ? MakeCudaGraphRecorder() : nullptr);
}

std::vector<int> Rounds(absl::Span<const ExecutorRow> rows, int of_traced) {
  std::map<const AnchorTrace*, size_t> recorders;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].record != nullptr) recorders[rows[i].record] = i;
  }
  std::vector<int> rounds(rows.size(), 0);
  // Each pass settles at least the rows of one more round.
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].trace == nullptr) continue;
      const auto recorder = recorders.find(rows[i].trace);
      const int round = recorder == recorders.end() ? of_traced : rounds[recorder->second] + 1;
      changed = changed || rounds[i] != round;
      rounds[i] = round;
    }
  }
  return rounds;
}

double RowGflop(const SDiTConfig& config, int64_t num_computed) {
  const auto D = static_cast<double>(config.hidden_size);
  const auto S = static_cast<double>(config.tokens_side() * config.tokens_side());
  const auto frames = static_cast<double>(num_computed);
  const auto pixels = static_cast<double>(config.patch_size * config.patch_size);
  // Frames that the joint attention runs over: with kJoint the source is one more.
  const double joint = config.source == SourceTokens::kJoint ? 1 : 0;
  const double computed = frames + joint;
  const double seen =
      static_cast<double>(config.num_frames) + (config.source == SourceTokens::kNone ? 0 : 1);
  const double linear = computed * S * 12 * D * D;           // qkv, proj, MLP
  const double attention = computed * S * 2 * seen * S * D;  // scores and weighted sum
  const double modulation = computed * 6 * D * D;
  const double ends = frames * S * D * pixels *
                          static_cast<double>(config.latent_channels + config.out_channels()) +
                      frames * 2 * D * D + 256 * D + D * D;
  return 2e-9 * (static_cast<double>(config.depth) * (linear + attention + modulation) + ends);
}

}  // namespace reenact
