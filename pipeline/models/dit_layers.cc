#include "pipeline/models/dit_layers.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "pipeline/models/attention.h"
#include "pipeline/models/layers.h"

namespace reenact {

namespace nn = torch::nn;
using torch::Tensor;

namespace {

constexpr int64_t kTimestepFeatures = 256;
constexpr int64_t kMlpRatio = 4;
constexpr double kNormEpsilon = 1e-6;

}  // namespace

Tensor SinCosTable(const Tensor& positions, int64_t size) {
  const auto i = torch::arange(size / 2, torch::kFloat64);
  const auto frequencies = torch::pow(10000.0, -i / (static_cast<double>(size) / 2));
  const auto angles = torch::outer(positions.to(torch::kFloat64), frequencies);
  return torch::cat({torch::sin(angles), torch::cos(angles)}, 1);
}

Tensor SpatialPositions(int64_t side, int64_t hidden_size) {
  const auto line = SinCosTable(torch::arange(side), hidden_size / 2);  // [side, D/2]
  const auto columns = line.unsqueeze(0).expand({side, side, -1});
  const auto rows = line.unsqueeze(1).expand({side, side, -1});
  return torch::cat({columns, rows}, 2).reshape({1, side * side, -1}).to(torch::kFloat32);
}

Tensor TemporalPositions(int64_t num_frames, int64_t hidden_size) {
  return SinCosTable(torch::arange(num_frames), hidden_size).unsqueeze(0).to(torch::kFloat32);
}

// Float32 on purpose, the frequencies too: public checkpoints were trained with features computed
// so, and near t = 999 a double differs by 3e-5.
Tensor TimestepFeatures(const Tensor& t) {
  const int64_t half = kTimestepFeatures / 2;
  const auto i = torch::arange(half, t.options().dtype(torch::kFloat32));
  const auto frequencies = torch::exp(-std::log(10000.0) * i / static_cast<double>(half));
  const auto angles = t.to(torch::kFloat32).unsqueeze(1) * frequencies.unsqueeze(0);
  return torch::cat({torch::cos(angles), torch::sin(angles)}, 1);
}

absl::Status ValidateBackbone(const char* network, int64_t latent_channels, int64_t latent_size,
                              int64_t patch_size, int64_t hidden_size, int64_t num_heads,
                              int64_t depth) {
  const auto invalid = [network](const char* problem) {
    return absl::InvalidArgumentError(absl::StrCat(network, ": ", problem));
  };
  if (latent_channels < 1) return invalid("latent_channels must be 1 or more");
  if (patch_size < 1 || latent_size < 1 || latent_size % patch_size != 0) {
    return invalid("latent_size must be a positive multiple of patch_size");
  }
  if (hidden_size < 4 || hidden_size % 4 != 0) {
    return invalid("hidden_size must be a positive multiple of 4");
  }
  if (num_heads < 1 || hidden_size % num_heads != 0) {
    return invalid("hidden_size must be a multiple of num_heads");
  }
  if (depth < 1) return invalid("depth must be 1 or more");
  return absl::OkStatus();
}

Tensor Normalize(const Tensor& x) {
  return torch::layer_norm(x, {x.size(-1)}, {}, {}, kNormEpsilon);
}

Tensor Modulate(const Tensor& x, const Modulation& m) { return x * (1 + m.scale) + m.shift; }

TimestepEmbedderImpl::TimestepEmbedderImpl(int64_t hidden_size)
    : mlp_(register_module("mlp",
                           nn::Sequential(MakeLinear(kTimestepFeatures, hidden_size), nn::SiLU(),
                                          MakeLinear(hidden_size, hidden_size)))) {}

Tensor TimestepEmbedderImpl::forward(const Tensor& t) {
  const auto& weight = mlp_->ptr<nn::LinearImpl>(0)->weight;
  return mlp_->forward(TimestepFeatures(t).to(weight.options()));  // [N, D]
}

PatchEmbedImpl::PatchEmbedImpl(int64_t in_channels, int64_t patch_size, int64_t hidden_size)
    : proj_(register_module(
          "proj",
          nn::Conv2d(nn::Conv2dOptions(in_channels, hidden_size, patch_size).stride(patch_size)))) {
}

Tensor PatchEmbedImpl::forward(const Tensor& x) {
  return proj_(x).flatten(2).transpose(1, 2);  // [N, S, D]
}

AttentionImpl::AttentionImpl(int64_t hidden_size, int64_t num_heads)
    : num_heads_(num_heads),
      qkv_(register_module("qkv", MakeLinear(hidden_size, 3 * hidden_size))),
      proj_(register_module("proj", MakeLinear(hidden_size, hidden_size))) {}

Tensor AttentionImpl::forward(const Tensor& x, const KeyValues& context, const Tensor& mask) {
  const auto qkv = qkv_(x.flatten(1, 2)).chunk(3, -1);  // [B, T*S, D] each
  const auto q = SplitHeads(qkv[0], num_heads_);        // [B, heads, T*S, D/heads]
  auto k = SplitHeads(qkv[1], num_heads_);
  auto v = SplitHeads(qkv[2], num_heads_);
  if (context.k.defined()) {
    k = torch::cat({k, context.k.expand({x.size(0), -1, -1, -1})}, 2);
    v = torch::cat({v, context.v.expand({x.size(0), -1, -1, -1})}, 2);
  }
  return proj_(MergeHeads(FusedAttention(q, k, v, mask))).view(x.sizes());  // [B, T, S, D]
}

KeyValues AttentionImpl::keys_values(const Tensor& x) {
  const auto qkv = qkv_(x.flatten(1, 2)).chunk(3, -1);
  return {.k = SplitHeads(qkv[1], num_heads_), .v = SplitHeads(qkv[2], num_heads_)};
}

MlpImpl::MlpImpl(int64_t hidden_size)
    : fc1_(register_module("fc1", MakeLinear(hidden_size, kMlpRatio * hidden_size))),
      fc2_(register_module("fc2", MakeLinear(kMlpRatio * hidden_size, hidden_size))) {}

Tensor MlpImpl::forward(const Tensor& x) { return fc2_(torch::gelu(fc1_(x), "tanh")); }

AdaLnImpl::AdaLnImpl(int64_t hidden_size, int64_t num_vectors)
    : num_vectors_(num_vectors),
      // "1": in the reference SiLU is child 0 of a sequence.
      linear_(register_module("1", MakeLinear(hidden_size, num_vectors * hidden_size))) {}

std::vector<Tensor> AdaLnImpl::forward(const Tensor& c) {
  return linear_(torch::silu(c)).unsqueeze(2).chunk(num_vectors_, -1);  // [B, T, 1, D] each
}

DiTBlockImpl::DiTBlockImpl(int64_t hidden_size, int64_t num_heads)
    : attn_(register_module("attn", Attention(hidden_size, num_heads))),
      mlp_(register_module("mlp", Mlp(hidden_size))),
      adaLN_modulation_(register_module("adaLN_modulation", AdaLn(hidden_size, 6))) {}

DiTBlockImpl::Modulations DiTBlockImpl::modulations(const Tensor& c) {
  const auto m = adaLN_modulation_(c);
  return {.msa = {m[0], m[1], m[2]}, .mlp = {m[3], m[4], m[5]}};
}

// adaLN-Zero (section 3.2, figure 3).
Tensor DiTBlockImpl::forward(const Tensor& x, const Tensor& c, const KeyValues& context,
                             const Tensor& mask) {
  const auto [msa, mlp] = modulations(c);
  const auto h = x + msa.gate * attn_(Modulate(Normalize(x), msa), context, mask);  // [B, T, S, D]
  return h + mlp.gate * mlp_(Modulate(Normalize(h), mlp));                          // [B, T, S, D]
}

KeyValues DiTBlockImpl::keys_values(const Tensor& x, const Tensor& c) {
  return attn_->keys_values(Modulate(Normalize(x), modulations(c).msa));
}

FinalLayerImpl::FinalLayerImpl(int64_t hidden_size, int64_t patch_size, int64_t out_channels)
    : linear_(register_module("linear",
                              MakeLinear(hidden_size, patch_size * patch_size * out_channels))),
      adaLN_modulation_(register_module("adaLN_modulation", AdaLn(hidden_size, 2))) {}

Tensor FinalLayerImpl::forward(const Tensor& x, const Tensor& c) {
  const auto m = adaLN_modulation_(c);
  return linear_(Modulate(Normalize(x), {.shift = m[0], .scale = m[1], .gate = {}}));
}

Tensor Unpatchify(const Tensor& tokens, int64_t patch_size, int64_t channels) {
  const int64_t p = patch_size;
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(tokens.size(-2))));
  std::vector<int64_t> leading(tokens.sizes().begin(), tokens.sizes().end() - 2);
  const auto picture = tokens.reshape({-1, side, side, p, p, channels})
                           .permute({0, 5, 1, 3, 2, 4})
                           .reshape({-1, channels, side * p, side * p});
  leading.insert(leading.end(), {channels, side * p, side * p});
  return picture.reshape(leading);
}

void InitializeDiTLayers(nn::Module& module) {
  const torch::NoGradGuard no_grad;
  const auto zero = [](nn::Module& parent) {
    for (auto& parameter : parent.parameters()) nn::init::zeros_(parameter);
  };
  for (const auto& child : module.modules()) {
    if (auto* linear = child->as<nn::LinearImpl>()) {
      nn::init::xavier_uniform_(linear->weight);
      nn::init::zeros_(linear->bias);
    } else if (auto* conv = child->as<nn::Conv2dImpl>()) {
      nn::init::xavier_uniform_(conv->weight.flatten(1));
      nn::init::zeros_(conv->bias);
    }
  }
  // After the general rule, what departs from it.
  for (const auto& child : module.modules()) {
    if (auto* embedder = child->as<TimestepEmbedderImpl>()) {
      for (auto& item : embedder->named_parameters()) {
        if (item.key().ends_with("weight")) nn::init::normal_(item.value(), 0.0, 0.02);
      }
    } else if (child->as<AdaLnImpl>() != nullptr) {
      zero(*child);
    } else if (child->as<FinalLayerImpl>() != nullptr) {
      zero(*child);
    }
  }
}

}  // namespace reenact
