// CLIP's two towers (Radford et al. 2021) in the layout of huggingface/transformers, models/clip.
// N pictures or texts. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "torch/torch.h"

namespace reenact {

struct ClipConfig {
  int64_t projection_dim = 0;
  struct Vision {
    int64_t hidden_size = 0;
    int64_t image_size = 0;
    int64_t intermediate_size = 0;
    int64_t num_attention_heads = 0;
    int64_t num_hidden_layers = 0;
    int64_t patch_size = 0;
  } vision;
  struct Text {
    int64_t hidden_size = 0;
    int64_t intermediate_size = 0;
    int64_t num_attention_heads = 0;
    int64_t num_hidden_layers = 0;
    int64_t vocab_size = 0;
    int64_t max_position_embeddings = 77;
    int64_t bos_token_id = 0;
    int64_t eos_token_id = 0;
  } text;
};
// kInvalidArgument names the field.
absl::Status Validate(const ClipConfig& config);

// What a tower computes on its way.
struct ClipTrace {
  std::vector<torch::Tensor> hidden;  // input of layer 0, then the output of every layer: [N, L, W]
  torch::Tensor last_hidden_state;    // vision: hidden.back(); text: after final_layer_norm
  torch::Tensor pooled;               // [N, W]
};

class ClipVisionTowerImpl;
class ClipTextTowerImpl;

class ClipImpl : public torch::nn::Module {
 public:
  // `config` must be valid.
  explicit ClipImpl(const ClipConfig& config);

  // pixel_values [N, 3, S, S] as ClipPreprocess makes them -> [N, projection_dim], not normalised.
  torch::Tensor image_embeds(const torch::Tensor& pixel_values, ClipTrace* trace = nullptr);
  // ids [N, L] int64, L <= max_position_embeddings; what follows the first eos is ignored
  // -> [N, projection_dim], not normalised.
  torch::Tensor text_embeds(const torch::Tensor& ids, ClipTrace* trace = nullptr);

  // The logarithm of the factor that multiplies cosines in contrastive training. [].
  torch::Tensor logit_scale() const { return logit_scale_; }
  const ClipConfig& config() const { return config_; }

 private:
  const ClipConfig config_;
  std::shared_ptr<ClipVisionTowerImpl> vision_model_;
  std::shared_ptr<ClipTextTowerImpl> text_model_;
  torch::nn::Linear visual_projection_{nullptr}, text_projection_{nullptr};
  torch::Tensor logit_scale_;
};
TORCH_MODULE(Clip);

// x / |x| along the last dimension.
torch::Tensor NormalizeEmbedding(const torch::Tensor& x);

// CLIP's initialisation: N with the paper's depth- and width-dependent deviations, zero biases,
// unit norms, logit_scale ln(1 / 0.07). Draws from torch's default generator.
void InitializeWeights(Clip& model);

}  // namespace reenact
