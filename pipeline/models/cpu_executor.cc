#include "pipeline/models/cpu_executor.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>

#include "ATen/Parallel.h"
#include "pipeline/models/attention.h"
#include "pipeline/models/cpu_linear.h"

namespace reenact {
namespace {

using torch::Tensor;
using Parameters = std::unordered_map<std::string, Tensor>;

// What every path computes alike, in float32: embedding, conditions, the order of the rows.
class CpuExecutor : public RowExecutor {
 public:
  CpuExecutor(const SDiTConfig& config, const Parameters& parameters)
      : config_(config),
        timestep_in_weight_(parameters.at("t_embedder.mlp.0.weight")),
        timestep_in_bias_(parameters.at("t_embedder.mlp.0.bias")),
        timestep_out_weight_(parameters.at("t_embedder.mlp.2.weight")),
        timestep_out_bias_(parameters.at("t_embedder.mlp.2.bias")),
        patch_weight_(parameters.at("x_embedder.proj.weight").flatten(1)),  // [D, C p p]
        patch_bias_(parameters.at("x_embedder.proj.bias")),
        spatial_(parameters.at("pos_embed")[0]),             // [S, D]
        temporal_(parameters.at("temporal_pos_embed")[0]) {  // [T, D]
    if (config.landmark_map) {
      map_weight_ = parameters.at("map_embedder.weight");
      map_bias_ = parameters.at("map_embedder.bias");
    }
    if (config.source != SourceTokens::kNone) {
      source_embed_ = parameters.at("source_embed");
      source_pos_ = parameters.at("source_pos");
    }
  }

  const SDiTConfig& config() const override { return config_; }

  std::vector<Tensor> Forward(absl::Span<const ExecutorRow> rows) override {
    const c10::InferenceMode inference;
    std::vector<RowWork> work(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      work[i].row = &rows[i];
      work[i].time = Timestep(rows[i].t);
    }
    // Whoever reads what another row of this call records waits for the first round.
    std::vector<RowWork*> first, second;
    for (RowWork& item : work) {
      const bool waits = item.row->trace != nullptr &&
                         std::any_of(rows.begin(), rows.end(), [&](const ExecutorRow& other) {
                           return other.record == item.row->trace;
                         });
      (waits ? second : first).push_back(&item);
    }
    ForwardAll(first);
    ForwardAll(second);
    std::vector<Tensor> outputs;
    for (RowWork& item : work) outputs.push_back(std::move(item.output));
    return outputs;
  }

  Tensor EmbedMaps(const Tensor& maps) override {
    const c10::InferenceMode inference;
    return at::linear(maps.to(torch::kFloat32), map_weight_, map_bias_);
  }

  ExecutorSource TraceSource(const Tensor& source_latent, const Tensor& source_C,
                             const std::optional<Tensor>& source_landmark_map) override {
    const c10::InferenceMode inference;
    Tensor x = EmbedPicture(source_latent.to(torch::kFloat32)) + source_pos_;  // [1, S, D]
    if (config_.landmark_map) x = x + EmbedMaps(source_landmark_map.value());
    const Tensor c = Timestep(0) + source_C.to(torch::kFloat32) + source_embed_;  // [1, D]
    ExecutorSource source;
    Blocks({.x = x.flatten(0, 1),
            .c = c,
            .num_frames = 1,
            .recorded_frame = 0,
            .record = &source.tensors,
            .only_record = true});
    return source;
  }

 protected:
  struct BlocksInput {
    Tensor x;  // [K * S, D] float32, may be overwritten
    Tensor c;  // [K, D] float32
    int64_t num_frames = 0;
    const std::vector<Tensor>* trace = nullptr;   // null: none
    const std::vector<Tensor>* source = nullptr;  // null: none
    int64_t recorded_frame = 0;
    std::vector<Tensor>* record = nullptr;  // receives the frame's keys and values; null: nobody
    bool only_record = false;               // the output is not wanted
  };
  // All blocks and the final layer: -> [K * S, p p out_channels] float32; undefined if only_record.
  virtual Tensor Blocks(BlocksInput input) = 0;

  int64_t tokens() const { return spatial_.size(0); }

 private:
  struct RowWork {
    const ExecutorRow* row = nullptr;
    Tensor time, output;
  };

  // Rows side by side, one thread each.
  void ForwardAll(const std::vector<RowWork*>& work) {
    if (work.size() == 1) return ForwardRow(work[0]);
    at::parallel_for(0, static_cast<int64_t>(work.size()), 1, [&](int64_t begin, int64_t end) {
      const c10::InferenceMode inference;
      for (int64_t i = begin; i < end; ++i) ForwardRow(work[static_cast<size_t>(i)]);
    });
  }

  void ForwardRow(RowWork* work) {
    const ExecutorRow& row = *work->row;
    const int64_t K = row.x.size(0);
    Tensor x = EmbedPicture(row.x.to(torch::kFloat32));  // [K, S, D]
    x += Slots(row, K);
    if (row.extra.defined()) x += row.extra;
    if (row.record != nullptr) row.record->blocks.clear();
    const Tensor y = Blocks({.x = x.flatten(0, 1),
                             .c = work->time + row.C.to(torch::kFloat32),
                             .num_frames = K,
                             .trace = row.trace != nullptr ? &row.trace->blocks : nullptr,
                             .source = row.source != nullptr ? &row.source->tensors : nullptr,
                             .recorded_frame = row.anchor_slot.value_or(0),
                             .record = row.record != nullptr ? &row.record->blocks : nullptr});
    work->output =
        Unpatchify(y.unflatten(0, {K, tokens()}), config_.patch_size, config_.out_channels());
  }

  // The temporal table at the slots a row computes: [K, 1, D].
  Tensor Slots(const ExecutorRow& row, int64_t K) const {
    if (row.trace == nullptr) return temporal_.narrow(0, 0, K).unsqueeze(1);
    const int64_t a = row.anchor_slot.value();
    return torch::cat({temporal_.narrow(0, 0, a), temporal_.narrow(0, a + 1, K - a)}).unsqueeze(1);
  }

  // [N, C, h, w] -> [N, S, D]: each patch through the convolution's weights, plus its position.
  Tensor EmbedPicture(const Tensor& x) const {
    const int64_t p = config_.patch_size, side = config_.tokens_side();
    const Tensor patches = x.reshape({x.size(0), config_.latent_channels, side, p, side, p})
                               .permute({0, 2, 4, 1, 3, 5})
                               .reshape({x.size(0), side * side, -1});
    return at::linear(patches, patch_weight_, patch_bias_) + spatial_;
  }

  // The timestep's embedding [D], computed once.
  Tensor Timestep(int64_t t) {
    const auto found = timesteps_.find(t);
    if (found != timesteps_.end()) return found->second;
    const Tensor features = TimestepFeatures(torch::tensor({t}));
    const Tensor hidden = torch::silu(at::linear(features, timestep_in_weight_, timestep_in_bias_));
    const Tensor embedding = at::linear(hidden, timestep_out_weight_, timestep_out_bias_)[0];
    if (timesteps_.size() >= kMaxTimesteps) timesteps_.clear();
    timesteps_.emplace(t, embedding);
    return embedding;
  }

  static constexpr size_t kMaxTimesteps = 1024;

  const SDiTConfig config_;
  const Tensor timestep_in_weight_, timestep_in_bias_, timestep_out_weight_, timestep_out_bias_;
  const Tensor patch_weight_, patch_bias_;
  const Tensor spatial_, temporal_;
  Tensor map_weight_, map_bias_, source_embed_, source_pos_;
  std::unordered_map<int64_t, Tensor> timesteps_;
};

// libtorch operators.
class PortableExecutor final : public CpuExecutor {
 public:
  PortableExecutor(const SDiTConfig& config, const Parameters& parameters, torch::Dtype dtype)
      : CpuExecutor(config, parameters), dtype_(dtype) {
    const auto linear = [&](const std::string& name) {
      return CpuLinear(parameters.at(name + ".weight"), parameters.at(name + ".bias"), dtype);
    };
    for (int64_t i = 0; i < config.depth; ++i) {
      const std::string block = "blocks." + std::to_string(i);
      blocks_.push_back({.modulation = linear(block + ".adaLN_modulation.1"),
                         .qkv = linear(block + ".attn.qkv"),
                         .proj = linear(block + ".attn.proj"),
                         .fc1 = linear(block + ".mlp.fc1"),
                         .fc2 = linear(block + ".mlp.fc2")});
    }
    final_modulation_ = linear("final_layer.adaLN_modulation.1");
    final_ = linear("final_layer.linear");
  }

  int64_t trace_bytes() const override {
    return config().depth * 2 * tokens() * config().hidden_size *
           static_cast<int64_t>(c10::elementSize(dtype_));
  }

 protected:
  Tensor Blocks(BlocksInput input) override {
    const int64_t K = input.num_frames, S = tokens(), heads = config().num_heads;
    const Tensor c = torch::silu(input.c).to(dtype_);
    Tensor x = input.x.view({K, S, -1});
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const Block& block = blocks_[b];
      const auto m = block.modulation(c).to(torch::kFloat32).unsqueeze(1).chunk(6, -1);
      const auto qkv = block.qkv(Modulated(x, m[0], m[1])).flatten(0, 1).chunk(3, -1);
      const auto split = [&](const Tensor& y) { return SplitHeads(y.unsqueeze(0), heads); };
      std::vector<Tensor> k = {split(qkv[1])}, v = {split(qkv[2])};  // [1, heads, tokens, d]
      if (input.record != nullptr) {
        const int64_t begin = input.recorded_frame * S;
        input.record->push_back(torch::stack({k[0].narrow(2, begin, S), v[0].narrow(2, begin, S)}));
        if (input.only_record && b + 1 == blocks_.size()) return {};
      }
      for (const auto* context : {input.trace, input.source}) {
        if (context == nullptr) continue;
        k.push_back((*context)[b][0]);
        v.push_back((*context)[b][1]);
      }
      const Tensor y =
          MergeHeads(FusedAttention(split(qkv[0]), torch::cat(k, 2), torch::cat(v, 2)));
      x = torch::addcmul(x, m[2], block.proj(y).view({K, S, -1}).to(torch::kFloat32));
      const Tensor h = block.fc1(Modulated(x, m[3], m[4]), Activation::kTanhGelu);
      x = torch::addcmul(x, m[5], block.fc2(h).to(torch::kFloat32));
    }
    const auto m = final_modulation_(c).to(torch::kFloat32).unsqueeze(1).chunk(2, -1);
    return final_(Modulated(x, m[0], m[1])).to(torch::kFloat32).flatten(0, 1);
  }

 private:
  struct Block {
    CpuLinear modulation, qkv, proj, fc1, fc2;
  };

  Tensor Modulated(const Tensor& x, const Tensor& shift, const Tensor& scale) const {
    return Modulate(Normalize(x), {.shift = shift, .scale = scale, .gate = {}}).to(dtype_);
  }

  const torch::Dtype dtype_;
  std::vector<Block> blocks_;
  CpuLinear final_modulation_, final_;
};

Parameters Collect(const SDiT& sdit) {
  Parameters parameters;
  const auto add = [&](const auto& items) {
    for (const auto& item : items) {
      parameters.emplace(item.key(), item.value().detach().to(torch::kFloat32).contiguous());
    }
  };
  add(sdit->named_parameters());
  add(sdit->named_buffers());
  return parameters;
}

}  // namespace

CpuPath BestCpuPath(ExecutorDtype) { return CpuPath::kPortable; }

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeCpuExecutor(SDiT sdit,
                                                             const RowExecutor::Options& options,
                                                             CpuPath) {
  if (sdit->config().source == SourceTokens::kJoint) {
    return absl::UnimplementedError("the CPU executor has no joint source tokens");
  }
  const c10::InferenceMode inference;
  const auto dtype = options.dtype == ExecutorDtype::kBfloat16 ? torch::kBFloat16 : torch::kFloat32;
  return std::make_unique<PortableExecutor>(sdit->config(), Collect(sdit), dtype);
}

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeCpuExecutor(SDiT sdit,
                                                             const RowExecutor::Options& options) {
  return MakeCpuExecutor(std::move(sdit), options, BestCpuPath(options.dtype));
}

}  // namespace reenact
