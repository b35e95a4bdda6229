#include "pipeline/models/cpu_executor.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <unordered_map>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "pipeline/models/attention.h"
#include "pipeline/models/cpu_attention.h"
#include "pipeline/models/cpu_kernels.h"
#include "pipeline/models/cpu_linear.h"
#include "pipeline/models/cpu_scratch.h"

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
        spatial_(parameters.at("pos_embed")[0] + parameters.at("x_embedder.proj.bias")),
        positions_(parameters.at("temporal_pos_embed")[0].unsqueeze(1) + spatial_) {
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
    const std::vector<int> rounds = Rounds(rows, /*of_traced=*/0);
    size_t num_left = rows.size();
    for (int round = 0; num_left > 0; ++round) {
      std::vector<RowWork*> now;
      for (size_t i = 0; i < rows.size(); ++i) {
        if (rounds[i] == round) now.push_back(&work[i]);
      }
      ForwardAll(now);
      num_left -= now.size();
    }
    std::vector<Tensor> outputs;
    for (RowWork& item : work) outputs.push_back(std::move(item.output));
    return outputs;
  }

  Tensor EmbedMaps(const Tensor& maps) override {
    const c10::InferenceMode inference;
    return at::linear(
        LandmarkMapFeatures(maps.to(torch::kFloat32), config_.landmark_map_frequencies),
        map_weight_, map_bias_);
  }

  ExecutorSource TraceSource(const Tensor& source_latent, const Tensor& source_C,
                             const std::optional<Tensor>& source_landmark_map) override {
    const c10::InferenceMode inference;
    Tensor x = (spatial_ + source_pos_).unsqueeze(0);  // [1, S, D]
    if (config_.landmark_map) x = x + EmbedMaps(source_landmark_map.value());
    x = x.contiguous();
    AddPatches(Patches(source_latent), &x);
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
    bool alone = true;                      // may use all threads
  };
  // All blocks and the final layer: -> [K * S, p p out_channels] float32; undefined if only_record.
  virtual Tensor Blocks(BlocksInput input) = 0;

  // x [..., D], contiguous, += the patch layer's weights times patches [tokens, C p p].
  virtual void AddPatches(const Tensor& patches, Tensor* x) = 0;

  int64_t tokens() const { return spatial_.size(0); }

 private:
  struct RowWork {
    const ExecutorRow* row = nullptr;
    Tensor time, output;
  };

  // Rows side by side, one thread each; rows that would leave threads idle, one by one on all.
  void ForwardAll(const std::vector<RowWork*>& work) {
    const auto size = static_cast<int64_t>(work.size());
    const int64_t together = size - size % std::max(at::get_num_threads(), 1);
    at::parallel_for(0, together, 1, [&](int64_t begin, int64_t end) {
      const c10::InferenceMode inference;
      for (int64_t i = begin; i < end; ++i) ForwardRow(work[static_cast<size_t>(i)], false);
    });
    for (int64_t i = together; i < size; ++i) ForwardRow(work[static_cast<size_t>(i)], true);
  }

  void ForwardRow(RowWork* work, bool alone) {
    const ExecutorRow& row = *work->row;
    const int64_t K = row.x.size(0);
    Tensor x = Positions(row, K);
    if (row.extra.defined()) x += row.extra;
    AddPatches(Patches(row.x), &x);
    if (row.record != nullptr) row.record->blocks.clear();
    const Tensor y = Blocks({.x = x.flatten(0, 1),
                             .c = work->time + row.C.to(torch::kFloat32),
                             .num_frames = K,
                             .trace = row.trace != nullptr ? &row.trace->blocks : nullptr,
                             .source = row.source != nullptr ? &row.source->tensors : nullptr,
                             .recorded_frame = RecordedFrame(row),
                             .record = row.record != nullptr ? &row.record->blocks : nullptr,
                             .alone = alone});
    work->output =
        Unpatchify(y.unflatten(0, {K, tokens()}), config_.patch_size, config_.out_channels());
  }

  // What the positions of the tokens that a row computes add to them: [K, S, D], a copy.
  Tensor Positions(const ExecutorRow& row, int64_t K) const {
    if (row.trace == nullptr) return positions_.narrow(0, 0, K).clone();
    const int64_t a = row.anchor_slot.value();
    return torch::cat({positions_.narrow(0, 0, a), positions_.narrow(0, a + 1, K - a)});
  }

  // [N, C, h, w] -> [N * S, C p p].
  Tensor Patches(const Tensor& x) const {
    const int64_t p = config_.patch_size, side = config_.tokens_side();
    return x.to(torch::kFloat32)
        .reshape({x.size(0), config_.latent_channels, side, p, side, p})
        .permute({0, 2, 4, 1, 3, 5})
        .reshape({x.size(0) * side * side, -1})
        .contiguous();
  }

  // The timestep's embedding [D], computed once. Thread-safe.
  Tensor Timestep(int64_t t) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
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
  const Tensor spatial_;    // [S, D], the patch layer's bias included
  const Tensor positions_;  // [T, S, D], that and the temporal table
  Tensor map_weight_, map_bias_, source_embed_, source_pos_;

  absl::Mutex mu_;
  std::unordered_map<int64_t, Tensor> timesteps_ ABSL_GUARDED_BY(mu_);
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
    patch_weight_ = parameters.at("x_embedder.proj.weight").flatten(1).t();
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

  void AddPatches(const Tensor& patches, Tensor* x) override {
    x->flatten(0, -2).addmm_(patches, patch_weight_);
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
  Tensor patch_weight_;  // [C p p, D]
};

#if defined(__x86_64__)
// The kernels of cpu_kernels.h and cpu_attention.h. The residual stream x is float32.
template <typename E>
class NativeExecutor final : public CpuExecutor {
 public:
  NativeExecutor(const SDiTConfig& config, const Parameters& parameters)
      : CpuExecutor(config, parameters),
        D_(config.hidden_size),
        shape_{.num_heads = config.num_heads, .head_size = config.hidden_size / config.num_heads} {
    const auto pack = [](const Tensor& weight, const Tensor& bias) {
      return PackLinear<E>(weight.data_ptr<float>(), bias.data_ptr<float>(), weight.size(0),
                           weight.size(1));
    };
    const auto linear = [&](const std::string& name) {
      return pack(parameters.at(name + ".weight"), parameters.at(name + ".bias"));
    };
    std::vector<Tensor> weights, biases;
    const auto modulation = [&](const std::string& name) {
      weights.push_back(parameters.at(name + ".adaLN_modulation.1.weight"));
      biases.push_back(parameters.at(name + ".adaLN_modulation.1.bias"));
    };
    for (int64_t i = 0; i < config.depth; ++i) {
      const std::string block = "blocks." + std::to_string(i);
      blocks_.push_back({.qkv = linear(block + ".attn.qkv"),
                         .proj = linear(block + ".attn.proj"),
                         .fc1 = linear(block + ".mlp.fc1"),
                         .fc2 = linear(block + ".mlp.fc2")});
      modulation(block);
    }
    modulation("final_layer");
    modulation_ = pack(torch::cat(weights), torch::cat(biases));
    final_ = linear("final_layer.linear");
    const Tensor patch = parameters.at("x_embedder.proj.weight").flatten(1).contiguous();
    patch_ = PackLinear<float>(patch.data_ptr<float>(), torch::zeros({D_}).data_ptr<float>(), D_,
                               patch.size(1));
  }

  int64_t trace_bytes() const override {
    return config().depth * PackedKeyValuesSize(shape_, tokens()) * static_cast<int64_t>(sizeof(E));
  }

 protected:
  Tensor Blocks(BlocksInput input) override {
    const int64_t S = tokens(), N = input.num_frames * S;
    auto row = rows_.Take();
    row->qkv.Reserve(N * 3 * D_);
    row->own.Reserve(PackedKeyValuesSize(shape_, N));
    ComputeModulation(input.c, row.get());
    float* x = input.x.data_ptr<float>();
    E* qkv = row->qkv.data();

    // The vectors of rows from `begin` on: shift, scale, gate of attention, then of the MLP.
    const auto vectors = [&](size_t block, int64_t which, int64_t begin) {
      return RowVectors{
          .data = row->modulation.data() + (static_cast<int64_t>(block) * 6 + which) * D_,
          .stride = modulation_.out,
          .rows_each = S,
          .first_row = begin};
    };
    const auto norm = [&](size_t block, int64_t which, int64_t begin, int64_t count, E* to) {
      const RowVectors shift = vectors(block, which, begin);
      NormModulate(x + begin * D_, D_, count, shift, shift.data + D_, to);
    };
    const auto project_qkv = [&](size_t b, int64_t begin, int64_t count, Slice* slice) {
      norm(b, 0, begin, count, slice->normed.data());
      Linear<E>(blocks_[b].qkv, slice->normed.data(), D_, count,
                {.to = qkv + begin * 3 * D_, .stride = 3 * D_});
    };
    // Everything of a block that follows the attention's keys and values.
    const auto rest_of_block = [&](size_t b, std::span<const PackedKeyValues<E>> parts,
                                   int64_t begin, int64_t count, Slice* slice) {
      const Block& block = blocks_[b];
      float* to = x + begin * D_;
      Attend(shape_, qkv + begin * 3 * D_, 3 * D_, count, parts, slice->normed.data(), D_,
             &slice->scores);
      Linear<E>(
          block.proj, slice->normed.data(), D_, count,
          {.kind = Kind::kGatedAdd, .to_float = to, .stride = D_, .gates = vectors(b, 2, begin)});
      norm(b, 3, begin, count, slice->normed.data());
      Linear<E>(block.fc1, slice->normed.data(), D_, count,
                {.kind = Kind::kTanhGelu, .to = slice->hidden.data(), .stride = block.fc1.out});
      Linear<E>(
          block.fc2, slice->hidden.data(), block.fc1.out, count,
          {.kind = Kind::kGatedAdd, .to_float = to, .stride = D_, .gates = vectors(b, 5, begin)});
    };

    ForSlices(input.alone, N, [&](int64_t begin, int64_t count, Slice* slice) {
      project_qkv(0, begin, count, slice);
    });
    for (size_t b = 0; b < blocks_.size(); ++b) {
      For(input.alone, shape_.num_heads, [&](int64_t begin, int64_t end) {
        PackKeyValues(shape_, qkv + D_, qkv + 2 * D_, 3 * D_, N, begin, end, row->own.data());
      });
      if (input.record != nullptr) {
        input.record->push_back(Pack(qkv + input.recorded_frame * S * 3 * D_));
        if (input.only_record && b + 1 == blocks_.size()) return {};
      }
      std::vector<PackedKeyValues<E>> parts = {{row->own.data(), N}};
      for (const auto* context : {input.trace, input.source}) {
        if (context != nullptr) parts.push_back({Data((*context)[b]), S});
      }
      ForSlices(input.alone, N, [&](int64_t begin, int64_t count, Slice* slice) {
        rest_of_block(b, parts, begin, count, slice);
        // Of the slice's part of qkv only its own queries were still needed.
        if (b + 1 < blocks_.size()) project_qkv(b + 1, begin, count, slice);
      });
    }
    Tensor output = torch::empty({N, final_.out});
    ForSlices(input.alone, N, [&](int64_t begin, int64_t count, Slice* slice) {
      norm(blocks_.size(), 0, begin, count, slice->normed.data());
      Linear<E>(final_, slice->normed.data(), D_, count,
                {.kind = Kind::kFloat,
                 .to_float = output.data_ptr<float>() + begin * final_.out,
                 .stride = final_.out});
    });
    rows_.Give(std::move(row));
    return output;
  }

  void AddPatches(const Tensor& patches, Tensor* x) override {
    Linear<float>(patch_, patches.data_ptr<float>(), patches.size(1), patches.size(0),
                  {.kind = LinearOutput<float>::Kind::kGatedAdd,
                   .to_float = x->data_ptr<float>(),
                   .stride = D_,
                   .gates = {.data = ones_.data_ptr<float>()}});
  }

 private:
  using Kind = typename LinearOutput<E>::Kind;

  struct Block {
    PackedLinear<E> qkv, proj, fc1, fc2;
  };
  // Memory of a row.
  struct RowScratch {
    AlignedBuffer<E> condition, qkv, own;
    AlignedBuffer<float> modulation;
  };
  // Memory of a slice of a row's tokens that one thread takes through a block.
  struct Slice {
    AlignedBuffer<E> normed, hidden;
    AlignedBuffer<float> scores;
  };
  // The MLP's hidden values of a slice stay in the second-level cache. A multiple of the 12 queries
  // and the 6 rows that the kernels take at once.
  static constexpr int64_t kSliceTokens = 96;

  static constexpr auto kTensorType = std::is_same_v<E, float> ? torch::kFloat32 : torch::kBFloat16;

  static E* Data(const Tensor& x) { return static_cast<E*>(x.data_ptr()); }

  void ComputeModulation(const Tensor& c, RowScratch* row) const {
    const Tensor condition = torch::silu(c).to(kTensorType).contiguous();
    const int64_t K = c.size(0);
    row->modulation.Reserve(K * modulation_.out);
    Linear<E>(
        modulation_, Data(condition), D_, K,
        {.kind = Kind::kFloat, .to_float = row->modulation.data(), .stride = modulation_.out});
  }

  // The keys and values of one frame whose qkv begins there.
  Tensor Pack(const E* qkv) const {
    Tensor packed = torch::empty({PackedKeyValuesSize(shape_, tokens())}, kTensorType);
    PackKeyValues(shape_, qkv + D_, qkv + 2 * D_, 3 * D_, tokens(), 0, shape_.num_heads,
                  Data(packed));
    return packed;
  }

  template <typename Function>
  static void For(bool parallel, int64_t size, const Function& function) {
    if (parallel) {
      at::parallel_for(0, size, 1, function);
    } else {
      function(0, size);
    }
  }

  template <typename Function>
  void ForSlices(bool parallel, int64_t num_tokens, const Function& function) {
    const int64_t num_slices = (num_tokens + kSliceTokens - 1) / kSliceTokens;
    For(parallel, num_slices, [&](int64_t begin, int64_t end) {
      auto slice = slices_.Take();
      slice->normed.Reserve(kSliceTokens * D_);
      slice->hidden.Reserve(kSliceTokens * blocks_[0].fc1.out);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i * kSliceTokens;
        function(first, std::min(kSliceTokens, num_tokens - first), slice.get());
      }
      slices_.Give(std::move(slice));
    });
  }

  const int64_t D_;
  const HeadShape shape_;
  std::vector<Block> blocks_;
  PackedLinear<E> modulation_;  // of all blocks, then the final layer's
  PackedLinear<E> final_;
  PackedLinear<float> patch_;
  const Tensor ones_ = torch::ones({D_});
  ScratchPool<RowScratch> rows_;
  ScratchPool<Slice> slices_;
};
#endif

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

bool HasNativeCpuPath([[maybe_unused]] const SDiTConfig& config,
                      [[maybe_unused]] ExecutorDtype dtype) {
#if defined(__x86_64__)
  if (dtype == ExecutorDtype::kFloat32) return HasAvx512<float>();
  // Two elements make a word.
  const bool even = config.hidden_size / config.num_heads % 2 == 0;
  return even && HasAvx512<Bfloat16>();
#else
  return false;
#endif
}

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeCpuExecutor(SDiT sdit,
                                                             const RowExecutor::Options& options,
                                                             CpuPath path) {
  const SDiTConfig& config = sdit->config();
  if (config.source == SourceTokens::kJoint) {
    return absl::UnimplementedError("the CPU executor has no joint source tokens");
  }
  const c10::InferenceMode inference;
  const Parameters parameters = Collect(sdit);
  const bool single = options.dtype == ExecutorDtype::kFloat32;
  if (path == CpuPath::kPortable) {
    return std::make_unique<PortableExecutor>(config, parameters,
                                              single ? torch::kFloat32 : torch::kBFloat16);
  }
#if defined(__x86_64__)
  if (HasNativeCpuPath(config, options.dtype)) {
    if (single) return std::make_unique<NativeExecutor<float>>(config, parameters);
    return std::make_unique<NativeExecutor<Bfloat16>>(config, parameters);
  }
#endif
  return absl::FailedPreconditionError("the CPU executor has no kernels for this processor");
}

absl::StatusOr<std::unique_ptr<RowExecutor>> MakeCpuExecutor(SDiT sdit,
                                                             const RowExecutor::Options& options) {
  const CpuPath path =
      HasNativeCpuPath(sdit->config(), options.dtype) ? CpuPath::kNative : CpuPath::kPortable;
  return MakeCpuExecutor(std::move(sdit), options, path);
}

}  // namespace reenact
