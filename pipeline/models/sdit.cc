#include "pipeline/models/sdit.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/models/layers.h"

namespace reenact {

namespace nn = torch::nn;
using torch::Tensor;

namespace {

constexpr int64_t kMlpRatio = 4;
constexpr double kMappingNormEpsilon = 1e-6;
constexpr double kInitDeviation = 0.02;
constexpr int64_t kMaxLandmarkMapFrequencies = 8;

nn::LayerNorm MappingNorm(int64_t hidden_size) {
  return nn::LayerNorm(nn::LayerNormOptions({hidden_size}).eps(kMappingNormEpsilon));
}

class MappingBlockImpl : public nn::Module {
 public:
  explicit MappingBlockImpl(int64_t hidden_size)
      : norm_(register_module("norm", MappingNorm(hidden_size))),
        fc1_(register_module("fc1", MakeLinear(hidden_size, kMlpRatio * hidden_size))),
        fc2_(register_module("fc2", MakeLinear(kMlpRatio * hidden_size, hidden_size))) {}
  Tensor forward(const Tensor& h) { return h + fc2_(torch::gelu(fc1_(norm_(h)))); }

 private:
  nn::LayerNorm norm_;
  nn::Linear fc1_, fc2_;
};

// N(0, deviation) cut at two deviations, as vision transformers are initialised.
void TruncatedNormal(Tensor tensor, double deviation) {
  // Inverse transform: erfinv of a uniform variable between erf(-2 / sqrt 2) and erf(2 / sqrt 2).
  const double edge = std::erf(2.0 / std::sqrt(2.0));
  tensor.uniform_(-edge, edge).erfinv_().mul_(deviation * std::sqrt(2.0));
}

void InitializeTruncatedNormal(nn::Module& module) {
  for (const auto& child : module.modules()) {
    if (auto* linear = child->as<nn::LinearImpl>()) {
      TruncatedNormal(linear->weight, kInitDeviation);
      nn::init::zeros_(linear->bias);
    } else if (auto* norm = child->as<nn::LayerNormImpl>()) {
      norm->reset_parameters();
    }
  }
}

}  // namespace

absl::Status Validate(const SDiTConfig& config) {
  const auto invalid = [](const char* problem) {
    return absl::InvalidArgumentError(absl::StrCat("sdit: ", problem));
  };
  absl::Status backbone =
      ValidateBackbone("sdit", config.latent_channels, config.latent_size, config.patch_size,
                       config.hidden_size, config.num_heads, config.depth);
  if (!backbone.ok()) return backbone;
  if (config.num_frames < 1) return invalid("num_frames must be 1 or more");
  if (config.clip_dim < 1) return invalid("clip_dim must be 1 or more");
  if (config.mapping_blocks < 0) return invalid("mapping_blocks must be 0 or more");
  if (config.num_landmarks < 1) return invalid("num_landmarks must be 1 or more");
  if (config.landmark_map_frequencies < 0 ||
      config.landmark_map_frequencies > kMaxLandmarkMapFrequencies) {
    return invalid("landmark_map_frequencies must be 0 to 8");
  }
  if (config.landmark_map_frequencies > 0 && !config.landmark_map) {
    return invalid("landmark_map_frequencies need landmark_map");
  }
  if (config.landmark_map_openings && !config.landmark_map) {
    return invalid("landmark_map_openings need landmark_map");
  }
  if (config.identity_change && config.source == SourceTokens::kNone) {
    return invalid("identity_change needs source tokens");
  }
  return absl::OkStatus();
}

Tensor IdentityInput(const SDiTConfig& config, const Tensor& G,
                     const std::optional<Tensor>& of_source) {
  if (!config.identity_change) return G;
  return torch::cat({G, of_source ? G - *of_source : torch::zeros_like(G)}, -1);
}

Tensor LandmarkMapFeatures(const Tensor& map, int64_t frequencies) {
  if (frequencies == 0) return map;
  const Tensor cells =
      map.narrow(-1, 0, kLandmarkMapChannels).unflatten(-1, {kLandmarkMapCells, 3});
  const Tensor mask = cells.narrow(-1, 0, 1), place = cells.narrow(-1, 1, 2);
  std::vector<Tensor> features = {map};
  for (int64_t k = 0; k < frequencies; ++k) {
    const Tensor angle = place * (2 * std::numbers::pi * static_cast<double>(int64_t{1} << k));
    features.push_back((torch::cat({angle.sin(), angle.cos()}, -1) * mask).flatten(-2));
  }
  return torch::cat(features, -1);
}

MappingImpl::MappingImpl(int64_t identity_width, int64_t num_landmarks, int64_t hidden_size,
                         int64_t num_blocks)
    : clip_proj_(register_module("clip_proj", MakeLinear(identity_width, hidden_size))),
      lmk_proj_(register_module("lmk_proj", MakeLinear(3 * num_landmarks, hidden_size))),
      blocks_(register_module("blocks", nn::ModuleList())),
      norm_out_(register_module("norm_out", MappingNorm(hidden_size))),
      out_(register_module("out", MakeLinear(hidden_size, hidden_size))) {
  for (int64_t i = 0; i < num_blocks; ++i) {
    blocks_->push_back(std::make_shared<MappingBlockImpl>(hidden_size));
  }
}

Tensor MappingImpl::project(const Tensor& G, const Tensor& L) {
  return clip_proj_(G).unsqueeze(1) + lmk_proj_(L);  // [B, T, D]
}

Tensor MappingImpl::forward(const Tensor& h) {
  Tensor x = h;
  for (const auto& block : *blocks_) x = block->as<MappingBlockImpl>()->forward(x);
  return out_(norm_out_(x));  // [B, T, D]
}

SDiTImpl::SDiTImpl(const SDiTConfig& config) : config_(config) {
  const int64_t D = config.hidden_size;
  x_embedder_ =
      register_module("x_embedder", PatchEmbed(config.latent_channels, config.patch_size, D));
  t_embedder_ = register_module("t_embedder", TimestepEmbedder(D));
  mapping_ = register_module(
      "mapping", Mapping(config.identity_width(), config.num_landmarks, D, config.mapping_blocks));
  auto list = register_module("blocks", nn::ModuleList());
  for (int64_t i = 0; i < config.depth; ++i) {
    blocks_.push_back(DiTBlock(D, config.num_heads));
    list->push_back(blocks_.back());
  }
  final_layer_ =
      register_module("final_layer", FinalLayer(D, config.patch_size, config.out_channels()));
  pos_embed_ = register_buffer("pos_embed", SpatialPositions(config.tokens_side(), D));
  temporal_pos_embed_ =
      register_buffer("temporal_pos_embed", TemporalPositions(config.num_frames, D));
  null_clip_ = register_parameter("null_clip", torch::zeros({config.clip_dim}));
  null_lmk_ = register_parameter("null_lmk", torch::zeros({3 * config.num_landmarks}));
  if (config.landmark_map) {
    map_embedder_ = register_module("map_embedder", MakeLinear(config.landmark_map_width(), D));
  }
  if (config.source != SourceTokens::kNone) {
    source_embed_ = register_parameter("source_embed", torch::zeros({D}));
    source_pos_ = register_parameter("source_pos", torch::zeros({D}));
  }
}

Tensor SDiTImpl::map(const Tensor& G, const Tensor& L) { return mapping_(mapping_->project(G, L)); }

Tensor SDiTImpl::null_identity() const { return IdentityInput(config_, null_clip_, std::nullopt); }

Tensor SDiTImpl::map_projected(const Tensor& h) { return mapping_(h); }

Tensor SDiTImpl::embed_picture(const Tensor& x) { return x_embedder_(x) + pos_embed_; }

Tensor SDiTImpl::embed(const Tensor& x, const std::optional<Tensor>& landmark_map) {
  const auto tokens = embed_picture(x);
  return config_.landmark_map ? tokens + embed_map(landmark_map.value()) : tokens;  // [N, S, D]
}

Tensor SDiTImpl::embed_map(const Tensor& landmark_map) {
  const Tensor features = LandmarkMapFeatures(landmark_map, config_.landmark_map_frequencies);
  return map_embedder_(features.to(map_embedder_->weight.scalar_type()));
}

SDiTImpl::Source SDiTImpl::embed_source(const Tensor& latent, const Tensor& C,
                                        const std::optional<Tensor>& landmark_map) {
  const auto t = torch::zeros({1}, C.options().dtype(torch::kInt64));  // it is clean
  return {.x = (embed(latent, landmark_map) + source_pos_).unsqueeze(1),
          .c = (t_embedder_(t) + C + source_embed_).unsqueeze(1)};
}

SourceTrace SDiTImpl::trace_source(const Tensor& source_latent, const Tensor& source_C,
                                   const std::optional<Tensor>& source_landmark_map) {
  auto [x, c] = embed_source(source_latent, source_C, source_landmark_map);
  SourceTrace trace;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    trace.blocks.push_back(blocks_[i]->keys_values(x, c));
    if (i + 1 < blocks_.size()) x = blocks_[i](x, c);  // nobody sees the last block's output
  }
  return trace;
}

Tensor SDiTImpl::forward(const SDiTInput& input, std::optional<int64_t> anchor_slot,
                         std::vector<Tensor>* trace) {
  const int64_t B = input.x.size(0), T = input.x.size(1);
  const auto anchored = [&](const Tensor& X) {
    return anchor_slot.has_value() ? Override(X, *anchor_slot) : X;
  };
  const auto record = [&](const Tensor& x) {
    if (trace != nullptr) trace->push_back(x.narrow(1, 0, T));
  };

  // The frames' tokens and conditions.
  const auto frames_map = input.landmark_map.has_value()
                              ? std::make_optional(input.landmark_map->flatten(0, 1))
                              : std::nullopt;
  auto c = t_embedder_(input.t).unsqueeze(1) + input.C;                // [B, T, D]
  auto x = embed(anchored(input.x).flatten(0, 1), frames_map)          // [B * T, S, D]
               .unflatten(0, {B, T});                                  // [B, T, S, D]
  x = anchored(x + temporal_pos_embed_.narrow(1, 0, T).unsqueeze(2));  // [B, T, S, D]

  // The source: keys and values beside the frames', or one more frame after them.
  std::optional<SourceTrace> source;
  if (config_.source == SourceTokens::kSelf) {
    source = input.source_trace.has_value()
                 ? input.source_trace
                 : trace_source(input.source_latent.value(), input.source_C.value(),
                                input.source_landmark_map);
  } else if (config_.source == SourceTokens::kJoint) {
    const auto frame = embed_source(input.source_latent.value(), input.source_C.value(),
                                    input.source_landmark_map);
    x = torch::cat({x, frame.x.expand({B, -1, -1, -1})}, 1);  // [B, T + 1, S, D]
    c = torch::cat({c, frame.c.expand({B, -1, -1})}, 1);      // [B, T + 1, D]
  }
  const auto mask = source_key_mask(input, T * x.size(2));

  record(x);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x = anchored(blocks_[i](x, c, source.has_value() ? source->blocks[i] : KeyValues(), mask));
    record(x);
  }
  x = final_layer_(x.narrow(1, 0, T), c.narrow(1, 0, T));                      // [B, T, S, p*p*C]
  return anchored(Unpatchify(x, config_.patch_size, config_.out_channels()));  // [B, T, C, h, w]
}

Tensor SDiTImpl::source_key_mask(const SDiTInput& input, int64_t num_frame_tokens) const {
  if (config_.source == SourceTokens::kNone || !input.source_mask.has_value()) return {};
  const int64_t B = input.x.size(0), S = pos_embed_.size(1);
  const auto visible = input.source_mask->view({B, 1, 1, 1});
  return torch::cat(
      {torch::ones_like(visible).expand({B, 1, 1, num_frame_tokens}), visible.expand({B, 1, 1, S})},
      3);
}

Tensor Override(const Tensor& X, int64_t slot) {
  if (X.size(0) == 1) return X;
  const int64_t T = X.size(1);
  const auto anchor = X.narrow(0, 0, 1).narrow(1, slot, 1);  // [1, 1, ...]
  std::vector<int64_t> sizes = anchor.sizes().vec();
  sizes[0] = X.size(0);
  return torch::cat(
      {X.narrow(1, 0, slot), anchor.expand(sizes), X.narrow(1, slot + 1, T - slot - 1)}, 1);
}

void InitializeWeights(SDiT& model) {
  const torch::NoGradGuard no_grad;
  InitializeDiTLayers(*model);
  InitializeTruncatedNormal(*model->mapping());
  for (const auto& item : model->named_children()) {
    if (item.key() == "map_embedder") InitializeTruncatedNormal(*item.value());
  }
  for (auto& item : model->named_parameters(/*recurse=*/false)) {
    TruncatedNormal(item.value(), kInitDeviation);
  }
}

}  // namespace reenact
