#include <algorithm>
#include <cstddef>
#include <utility>

#include "pipeline/models/row_executor.h"
#include "pipeline/weights/load.h"

namespace reenact {
namespace {

using torch::Tensor;

// Rows of a Forward call that can be one batch: equal in the frames they compute and in what they
// attend to.
struct Group {
  std::vector<size_t> rows;  // indices into the call's rows
};

class TorchExecutor final : public RowExecutor {
 public:
  TorchExecutor(SDiT sdit, const Options& options)
      : sdit_(std::move(sdit)),
        options_(options),
        dtype_(options.dtype == ExecutorDtype::kBfloat16 ? torch::kBFloat16 : torch::kFloat32) {}

  const SDiTConfig& config() const override { return sdit_->config(); }

  std::vector<Tensor> Forward(absl::Span<const ExecutorRow> rows) override {
    const c10::InferenceMode inference;
    std::vector<Tensor> outputs(rows.size());
    for (const Group& group : Groups(rows)) ForwardGroup(rows, group, &outputs);
    return outputs;
  }

  Tensor EmbedMaps(const Tensor& maps) override {
    const c10::InferenceMode inference;
    return sdit_->map_embedder()(maps.to(dtype_));
  }

  ExecutorSource TraceSource(const Tensor& source_latent, const Tensor& source_C,
                             const std::optional<Tensor>& source_landmark_map) override {
    const c10::InferenceMode inference;
    std::optional<Tensor> map;
    if (source_landmark_map.has_value()) map = source_landmark_map->to(dtype_);
    const Tensor latent = source_latent.to(dtype_), C = source_C.to(dtype_);
    ExecutorSource source;
    if (config().source == SourceTokens::kJoint) {
      const auto frame = sdit_->embed_source(latent, C, map);
      source.tensors = {frame.x, frame.c};
      return source;
    }
    for (const KeyValues& block : sdit_->trace_source(latent, C, map).blocks) {
      source.tensors.push_back(torch::stack({block.k, block.v}));  // [2, 1, heads, S, d]
    }
    return source;
  }

  int64_t trace_bytes() const override {
    const int64_t tokens = config().tokens_side() * config().tokens_side();
    return config().depth * 2 * tokens * config().hidden_size *
           static_cast<int64_t>(c10::elementSize(dtype_));
  }

 private:
  // Anchor rows first: followers of the same call read their traces.
  std::vector<Group> Groups(absl::Span<const ExecutorRow> rows) const {
    const auto like = [](const ExecutorRow& a, const ExecutorRow& b) {
      return a.x.size(0) == b.x.size(0) && (a.source == nullptr) == (b.source == nullptr) &&
             (a.trace == nullptr) == (b.trace == nullptr) && a.anchor_slot == b.anchor_slot;
    };
    std::vector<Group> groups;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& candidate) {
        return !options_.deterministic && like(rows[candidate.rows[0]], rows[i]);
      });
      if (group == groups.end()) {
        groups.push_back({{i}});
      } else {
        group->rows.push_back(i);
      }
    }
    std::stable_partition(groups.begin(), groups.end(),
                          [&](const Group& group) { return rows[group.rows[0]].trace == nullptr; });
    return groups;
  }

  void ForwardGroup(absl::Span<const ExecutorRow> rows, const Group& group,
                    std::vector<Tensor>* outputs) {
    const ExecutorRow& first = rows[group.rows[0]];
    const auto stack = [&](auto&& part) {
      std::vector<Tensor> parts;
      for (const size_t i : group.rows) parts.push_back(part(rows[i]));
      return torch::stack(parts);
    };
    const auto num_rows = static_cast<int64_t>(group.rows.size());
    const int64_t K = first.x.size(0);
    const bool follower = first.trace != nullptr;
    const bool joint = config().source == SourceTokens::kJoint;

    std::vector<int64_t> timesteps;
    for (const size_t i : group.rows) timesteps.push_back(rows[i].t);
    const Tensor t = torch::tensor(timesteps, torch::kInt64);
    Tensor c = sdit_->t_embedder()(t).unsqueeze(1) +
               stack([](const ExecutorRow& row) { return row.C; }).to(dtype_);  // [B, K, D]

    // The landmark map's part has been made before: what is left is the picture's.
    const Tensor latents = stack([](const ExecutorRow& row) { return row.x; }).to(dtype_);
    Tensor x = sdit_->embed_picture(latents.flatten(0, 1)).unflatten(0, {num_rows, K});
    if (first.extra.defined()) {
      x = x + stack([](const ExecutorRow& row) { return row.extra; });
    }
    x = x + Positions(first, K);  // [B, K, S, D]

    if (joint && first.source != nullptr) {
      x = torch::cat({x, stack([](const ExecutorRow& row) { return row.source->tensors[0][0]; })},
                     1);  // [B, K + 1, S, D]
      c = torch::cat({c, stack([](const ExecutorRow& row) { return row.source->tensors[1][0]; })},
                     1);
    }

    const auto& blocks = sdit_->blocks();
    for (size_t b = 0; b < blocks.size(); ++b) {
      DiTBlock block = blocks[b];
      Record(rows, group, block, b, x, c);
      std::vector<Tensor> contexts;  // [B, 2, heads, S, d]
      if (follower) {
        contexts.push_back(stack([&](const ExecutorRow& row) { return row.trace->blocks[b]; }));
      }
      if (!joint && first.source != nullptr) {
        contexts.push_back(
            stack([&](const ExecutorRow& row) { return row.source->tensors[b].squeeze(1); }));
      }
      KeyValues context;
      if (!contexts.empty()) {
        const Tensor all = torch::cat(contexts, 3);
        context = {.k = all.select(1, 0), .v = all.select(1, 1)};
      }
      x = block(x, c, context);
    }
    x = sdit_->final_layer()(x.narrow(1, 0, K), c.narrow(1, 0, K));
    const Tensor pictures =
        Unpatchify(x, config().patch_size, config().out_channels()).to(torch::kFloat32);
    for (int64_t b = 0; b < num_rows; ++b) {
      (*outputs)[group.rows[static_cast<size_t>(b)]] = pictures[b];
    }
  }

  // [K, 1, D]: of the slots that are computed.
  Tensor Positions(const ExecutorRow& row, int64_t K) const {
    const Tensor table = sdit_->temporal_pos_embed()[0];  // [T, D]
    if (row.trace == nullptr) return table.narrow(0, 0, K).unsqueeze(1);
    const int64_t a = row.anchor_slot.value();
    return torch::cat({table.narrow(0, 0, a), table.narrow(0, a + 1, K - a)}).unsqueeze(1);
  }

  // Keeps what the anchor frames that enter block `b` show to others.
  void Record(absl::Span<const ExecutorRow> rows, const Group& group, DiTBlock block, size_t b,
              const Tensor& x, const Tensor& c) const {
    for (size_t i = 0; i < group.rows.size(); ++i) {
      const ExecutorRow& row = rows[group.rows[i]];
      if (row.record == nullptr) continue;
      if (b == 0) row.record->blocks.clear();
      const int64_t a = row.anchor_slot.value();
      const auto at = static_cast<int64_t>(i);
      const KeyValues kv = block->keys_values(x.narrow(0, at, 1).narrow(1, a, 1),
                                              c.narrow(0, at, 1).narrow(1, a, 1));
      row.record->blocks.push_back(torch::stack({kv.k[0], kv.v[0]}));  // [2, heads, S, d]
    }
  }

  SDiT sdit_;
  const Options options_;
  const torch::Dtype dtype_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeTorchExecutor(
    SDiT sdit, const RowExecutor::Options& options) {
  if (options.dtype == ExecutorDtype::kFloat32) {
    return std::make_unique<TorchExecutor>(std::move(sdit), options);
  }
  SDiT copy(sdit->config());
  if (auto status = LoadWeights(*copy, StateDict(*sdit)); !status.ok()) return status;
  copy->to(torch::kBFloat16);
  copy->eval();
  return std::make_unique<TorchExecutor>(std::move(copy), options);
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
