#include "pipeline/models/dit.h"

#include "absl/strings/str_cat.h"

namespace reenact {

namespace nn = torch::nn;
using torch::Tensor;

namespace {

// Only gives the table its checkpoint name.
class LabelEmbedder : public nn::Module {};

}  // namespace

absl::Status Validate(const DiTConfig& config) {
  const auto invalid = [](const char* problem) {
    return absl::InvalidArgumentError(absl::StrCat("dit: ", problem));
  };
  absl::Status backbone =
      ValidateBackbone("dit", config.latent_channels, config.latent_size, config.patch_size,
                       config.hidden_size, config.num_heads, config.depth);
  if (!backbone.ok()) return backbone;
  if (config.num_classes < 1) return invalid("num_classes must be 1 or more");
  return absl::OkStatus();
}

DiTImpl::DiTImpl(const DiTConfig& config) : config_(config) {
  const int64_t D = config.hidden_size;
  x_embedder_ =
      register_module("x_embedder", PatchEmbed(config.latent_channels, config.patch_size, D));
  t_embedder_ = register_module("t_embedder", TimestepEmbedder(D));
  auto labels = register_module("y_embedder", std::make_shared<LabelEmbedder>());
  y_embedder_ =
      labels->register_module("embedding_table", nn::Embedding(config.num_classes + 1, D));
  auto list = register_module("blocks", nn::ModuleList());
  for (int64_t i = 0; i < config.depth; ++i) {
    blocks_.push_back(DiTBlock(D, config.num_heads));
    list->push_back(blocks_.back());
  }
  final_layer_ =
      register_module("final_layer", FinalLayer(D, config.patch_size, config.out_channels()));
  pos_embed_ = register_buffer("pos_embed", SpatialPositions(config.tokens_side(), D));
}

Tensor DiTImpl::embed(const Tensor& x) { return (x_embedder_(x) + pos_embed_).unsqueeze(1); }

Tensor DiTImpl::condition(const Tensor& t, const Tensor& y) {
  return (t_embedder_(t) + y_embedder_(y)).unsqueeze(1);
}

Tensor DiTImpl::forward(const Tensor& x, const Tensor& t, const Tensor& y) {
  const auto c = condition(t, y);                   // [N, 1, D]
  auto h = embed(x);                                // [N, 1, S, D]
  for (DiTBlock& block : blocks_) h = block(h, c);  // [N, 1, S, D]
  h = final_layer_(h, c).squeeze(1);                // [N, S, p * p * C]
  return Unpatchify(h, config_.patch_size, config_.out_channels());
}

Tensor ForwardWithCfg(DiT& model, const Tensor& x, const Tensor& t, const Tensor& y, double scale) {
  constexpr int64_t kGuidedChannels = 3;
  const auto half = x.chunk(2, 0)[0];
  const auto out = model(torch::cat({half, half}, 0), t, y);
  const auto guided = out.narrow(1, 0, kGuidedChannels).chunk(2, 0);
  const auto epsilon = guided[1] + scale * (guided[0] - guided[1]);
  const auto rest = out.narrow(1, kGuidedChannels, out.size(1) - kGuidedChannels);
  return torch::cat({torch::cat({epsilon, epsilon}, 0), rest}, 1);
}

void InitializeWeights(DiT& model) {
  const torch::NoGradGuard no_grad;
  InitializeDiTLayers(*model);
  nn::init::normal_(model->label_table(), 0.0, 0.02);
}

}  // namespace reenact
