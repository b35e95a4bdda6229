#include "pipeline/engine/random_bundle.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "pipeline/weights/load.h"

namespace reenact {
namespace {

constexpr char kMerges[] =
    "#version: 0.2\n"
    "t h\n"
    "th e</w>\n"
    "a n\n"
    "an d</w>\n"
    "f a\n"
    "c e</w>\n"
    "fa ce</w>\n";
constexpr int64_t kNumMerges = 7;

void FillZeros(torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() > 0 && !parameter.any().item<bool>()) parameter.normal_(0, 0.02);
  }
}

}  // namespace

BundleConfig SmallBundleConfig() {
  BundleConfig config;
  config.name = "random";
  config.licence = "CC0-1.0";
  config.image_size = 64;
  config.frames_per_row = 4;
  config.prediction = Prediction::kV;
  config.default_num_steps = 10;
  config.training["note"] = "random weights, not trained";

  config.sdit.latent_size = 16;
  config.sdit.patch_size = 4;
  config.sdit.hidden_size = 32;
  config.sdit.depth = 2;
  config.sdit.num_heads = 2;
  config.sdit.num_frames = 4;
  config.sdit.clip_dim = 16;
  config.sdit.mapping_blocks = 2;
  config.sdit.source = SourceTokens::kSelf;
  config.sdit.landmark_map = true;

  config.autoencoder.block_out_channels = {8, 16, 16};
  config.autoencoder.layers_per_block = 1;
  config.autoencoder.norm_num_groups = 4;

  config.clip.projection_dim = 16;
  config.clip.vision.hidden_size = 16;
  config.clip.vision.image_size = 32;
  config.clip.vision.intermediate_size = 32;
  config.clip.vision.num_attention_heads = 2;
  config.clip.vision.num_hidden_layers = 2;
  config.clip.vision.patch_size = 8;
  config.clip.text.hidden_size = 16;
  config.clip.text.intermediate_size = 32;
  config.clip.text.num_attention_heads = 2;
  config.clip.text.num_hidden_layers = 2;
  config.clip.text.vocab_size = 2 * 256 + kNumMerges + 2;
  config.clip.text.max_position_embeddings = 77;
  config.clip.text.bos_token_id = config.clip.text.vocab_size - 2;
  config.clip.text.eos_token_id = config.clip.text.vocab_size - 1;
  return config;
}

absl::Status WriteRandomBundle(const std::string& folder, const BundleConfig& config,
                               uint64_t seed) {
  for (const absl::Status& status :
       {Validate(config.sdit), Validate(config.autoencoder), Validate(config.clip)}) {
    if (!status.ok()) return status;
  }
  try {
    torch::manual_seed(seed);
    SDiT sdit(config.sdit);
    AutoencoderKL autoencoder(config.autoencoder);
    Clip clip(config.clip);
    InitializeWeights(sdit);
    InitializeWeights(autoencoder);
    InitializeWeights(clip);
    FillZeros(*sdit);
    return WriteBundle(folder, config,
                       {StateDict(*sdit), StateDict(*autoencoder), StateDict(*clip), kMerges});
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("making random weights: ", error.what_without_backtrace()));
  }
}

}  // namespace reenact
