#include "pipeline/models/clip.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "pipeline/models/attention.h"
#include "pipeline/models/layers.h"

namespace reenact {

namespace nn = torch::nn;
using torch::Tensor;

namespace {

constexpr double kNormEpsilon = 1e-5;

nn::LayerNorm Norm(int64_t width) {
  return nn::LayerNorm(nn::LayerNormOptions({width}).eps(kNormEpsilon));
}

Tensor QuickGelu(const Tensor& x) { return x * torch::sigmoid(1.702 * x); }

class SelfAttentionImpl : public nn::Module {
 public:
  SelfAttentionImpl(int64_t width, int64_t num_heads)
      : num_heads_(num_heads),
        q_proj_(register_module("q_proj", MakeLinear(width, width))),
        k_proj_(register_module("k_proj", MakeLinear(width, width))),
        v_proj_(register_module("v_proj", MakeLinear(width, width))),
        out_proj_(register_module("out_proj", MakeLinear(width, width))) {}
  Tensor forward(const Tensor& x, bool causal) {  // [N, L, W]
    const auto heads = [&](nn::Linear& proj) { return SplitHeads(proj(x), num_heads_); };
    return out_proj_(
        MergeHeads(FusedAttention(heads(q_proj_), heads(k_proj_), heads(v_proj_), {}, causal)));
  }
  Tensor out_weight() const { return out_proj_->weight; }

 private:
  int64_t num_heads_;
  nn::Linear q_proj_, k_proj_, v_proj_, out_proj_;
};
TORCH_MODULE(SelfAttention);

class ClipMlpImpl : public nn::Module {
 public:
  ClipMlpImpl(int64_t width, int64_t intermediate)
      : fc1_(register_module("fc1", MakeLinear(width, intermediate))),
        fc2_(register_module("fc2", MakeLinear(intermediate, width))) {}
  Tensor forward(const Tensor& x) { return fc2_(QuickGelu(fc1_(x))); }

 private:
  nn::Linear fc1_, fc2_;
};
TORCH_MODULE(ClipMlp);

class LayerImpl : public nn::Module {
 public:
  LayerImpl(int64_t width, int64_t num_heads, int64_t intermediate)
      : self_attn_(register_module("self_attn", SelfAttention(width, num_heads))),
        layer_norm1_(register_module("layer_norm1", Norm(width))),
        mlp_(register_module("mlp", ClipMlp(width, intermediate))),
        layer_norm2_(register_module("layer_norm2", Norm(width))) {}
  Tensor forward(const Tensor& x, bool causal) {
    const Tensor h = x + self_attn_(layer_norm1_(x), causal);
    return h + mlp_(layer_norm2_(h));
  }

 private:
  SelfAttention self_attn_;
  nn::LayerNorm layer_norm1_;
  ClipMlp mlp_;
  nn::LayerNorm layer_norm2_;
};
TORCH_MODULE(Layer);

class EncoderImpl : public nn::Module {
 public:
  EncoderImpl(int64_t width, int64_t num_heads, int64_t intermediate, int64_t num_layers) {
    auto list = register_module("layers", nn::ModuleList());
    for (int64_t i = 0; i < num_layers; ++i) {
      layers_.push_back(Layer(width, num_heads, intermediate));
      list->push_back(layers_.back());
    }
  }
  Tensor forward(Tensor x, bool causal, ClipTrace* trace) {
    if (trace != nullptr) trace->hidden = {x};
    for (Layer& layer : layers_) {
      x = layer(x, causal);
      if (trace != nullptr) trace->hidden.push_back(x);
    }
    return x;
  }

 private:
  std::vector<Layer> layers_;
};
TORCH_MODULE(Encoder);

class VisionEmbeddingsImpl : public nn::Module {
 public:
  explicit VisionEmbeddingsImpl(const ClipConfig::Vision& config) {
    const int64_t side = config.image_size / config.patch_size;
    class_embedding_ = register_parameter("class_embedding", torch::zeros({config.hidden_size}));
    patch_embedding_ = register_module(
        "patch_embedding", nn::Conv2d(nn::Conv2dOptions(3, config.hidden_size, config.patch_size)
                                          .stride(config.patch_size)
                                          .bias(false)));
    position_embedding_ =
        register_module("position_embedding", MakeEmbedding(side * side + 1, config.hidden_size));
  }
  Tensor forward(const Tensor& pixel_values) {
    const Tensor patches =
        patch_embedding_(pixel_values).flatten(2).transpose(1, 2);  // [N, L-1, W]
    const Tensor first = class_embedding_.expand({patches.size(0), 1, -1});
    return torch::cat({first, patches}, 1) + position_embedding_->weight;
  }

 private:
  Tensor class_embedding_;
  nn::Conv2d patch_embedding_{nullptr};
  nn::Embedding position_embedding_{nullptr};
};
TORCH_MODULE(VisionEmbeddings);

class TextEmbeddingsImpl : public nn::Module {
 public:
  explicit TextEmbeddingsImpl(const ClipConfig::Text& config)
      : token_embedding_(register_module("token_embedding",
                                         MakeEmbedding(config.vocab_size, config.hidden_size))),
        position_embedding_(
            register_module("position_embedding",
                            MakeEmbedding(config.max_position_embeddings, config.hidden_size))) {}
  Tensor forward(const Tensor& ids) {
    return token_embedding_(ids) + position_embedding_->weight.narrow(0, 0, ids.size(1));
  }

 private:
  nn::Embedding token_embedding_, position_embedding_;
};
TORCH_MODULE(TextEmbeddings);

}  // namespace

class ClipVisionTowerImpl : public nn::Module {
 public:
  explicit ClipVisionTowerImpl(const ClipConfig::Vision& config)
      : embeddings_(register_module("embeddings", VisionEmbeddings(config))),
        // The public checkpoints spell it so.
        pre_layrnorm_(register_module("pre_layrnorm", Norm(config.hidden_size))),
        encoder_(register_module("encoder",
                                 Encoder(config.hidden_size, config.num_attention_heads,
                                         config.intermediate_size, config.num_hidden_layers))),
        post_layernorm_(register_module("post_layernorm", Norm(config.hidden_size))) {}

  // [N, 3, S, S] -> [N, W].
  Tensor forward(const Tensor& pixel_values, ClipTrace* trace) {
    const Tensor last = encoder_(pre_layrnorm_(embeddings_(pixel_values)), /*causal=*/false, trace);
    const Tensor pooled = post_layernorm_(last.select(1, 0));
    if (trace != nullptr) {
      trace->last_hidden_state = last;
      trace->pooled = pooled;
    }
    return pooled;
  }

 private:
  VisionEmbeddings embeddings_;
  nn::LayerNorm pre_layrnorm_;
  Encoder encoder_;
  nn::LayerNorm post_layernorm_;
};

class ClipTextTowerImpl : public nn::Module {
 public:
  explicit ClipTextTowerImpl(const ClipConfig::Text& config)
      : eos_token_id_(config.eos_token_id),
        embeddings_(register_module("embeddings", TextEmbeddings(config))),
        encoder_(register_module("encoder",
                                 Encoder(config.hidden_size, config.num_attention_heads,
                                         config.intermediate_size, config.num_hidden_layers))),
        final_layer_norm_(register_module("final_layer_norm", Norm(config.hidden_size))) {}

  // [N, L] -> [N, W], at each text's first end token. What follows it cannot be seen from there.
  Tensor forward(const Tensor& ids, ClipTrace* trace) {
    const Tensor last = final_layer_norm_(encoder_(embeddings_(ids), /*causal=*/true, trace));
    const Tensor first_end = (ids == eos_token_id_).to(torch::kInt32).argmax(1);
    const Tensor pooled = last.index({torch::arange(ids.size(0), ids.options()), first_end});
    if (trace != nullptr) {
      trace->last_hidden_state = last;
      trace->pooled = pooled;
    }
    return pooled;
  }

 private:
  const int64_t eos_token_id_;
  TextEmbeddings embeddings_;
  Encoder encoder_;
  nn::LayerNorm final_layer_norm_;
};

absl::Status Validate(const ClipConfig& config) {
  const auto invalid = [](const std::string& problem) {
    return absl::InvalidArgumentError(absl::StrCat("clip: ", problem));
  };
  const auto& vision = config.vision;
  const auto& text = config.text;
  if (config.projection_dim < 1) return invalid("projection_dim must be 1 or more");
  if (vision.hidden_size < 1 || vision.num_attention_heads < 1 ||
      vision.hidden_size % vision.num_attention_heads != 0) {
    return invalid("vision.hidden_size must be a positive multiple of vision.num_attention_heads");
  }
  if (text.hidden_size < 1 || text.num_attention_heads < 1 ||
      text.hidden_size % text.num_attention_heads != 0) {
    return invalid("text.hidden_size must be a positive multiple of text.num_attention_heads");
  }
  if (vision.intermediate_size < 1 || text.intermediate_size < 1) {
    return invalid("intermediate_size must be 1 or more");
  }
  if (vision.num_hidden_layers < 1 || text.num_hidden_layers < 1) {
    return invalid("num_hidden_layers must be 1 or more");
  }
  if (vision.patch_size < 1 || vision.image_size < vision.patch_size) {
    return invalid("vision.image_size must be at least vision.patch_size, which must be positive");
  }
  if (text.max_position_embeddings < 1) return invalid("text.max_position_embeddings: 1 or more");
  if (text.eos_token_id < 0 || text.eos_token_id >= text.vocab_size || text.bos_token_id < 0 ||
      text.bos_token_id >= text.vocab_size) {
    return invalid("text.bos_token_id and text.eos_token_id must be below text.vocab_size");
  }
  return absl::OkStatus();
}

ClipImpl::ClipImpl(const ClipConfig& config) : config_(config) {
  const auto projection = [&](int64_t width) {
    return MakeLinear(width, config.projection_dim, /*bias=*/false);
  };
  vision_model_ =
      register_module("vision_model", std::make_shared<ClipVisionTowerImpl>(config.vision));
  text_model_ = register_module("text_model", std::make_shared<ClipTextTowerImpl>(config.text));
  visual_projection_ = register_module("visual_projection", projection(config.vision.hidden_size));
  text_projection_ = register_module("text_projection", projection(config.text.hidden_size));
  logit_scale_ = register_parameter("logit_scale", torch::tensor(std::log(1 / 0.07f)));
}

Tensor ClipImpl::image_embeds(const Tensor& pixel_values, ClipTrace* trace) {
  return visual_projection_(vision_model_->forward(pixel_values, trace));
}

Tensor ClipImpl::text_embeds(const Tensor& ids, ClipTrace* trace) {
  return text_projection_(text_model_->forward(ids, trace));
}

Tensor NormalizeEmbedding(const Tensor& x) { return x / x.norm(2, -1, /*keepdim=*/true); }

void InitializeWeights(Clip& model) {
  const torch::NoGradGuard no_grad;
  const ClipConfig& config = model->config();
  for (auto& item : model->named_parameters()) {
    const std::string& name = item.key();
    Tensor& value = item.value();
    const bool vision = name.starts_with("vision");
    const auto width =
        static_cast<double>(vision ? config.vision.hidden_size : config.text.hidden_size);
    const auto layers = static_cast<double>(vision ? config.vision.num_hidden_layers
                                                   : config.text.num_hidden_layers);
    const double residual = std::pow(width, -0.5) * std::pow(2 * layers, -0.5);
    const auto is = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (name == "logit_scale") {
      value.fill_(std::log(1 / 0.07));
    } else if (is("norm") || is("layrnorm")) {
      value.fill_(name.ends_with("weight") ? 1.0 : 0.0);
    } else if (name.ends_with("bias")) {
      value.zero_();
    } else if (is("out_proj") || is("fc2")) {
      value.normal_(0, residual);
    } else if (is("fc1")) {
      value.normal_(0, std::pow(2 * width, -0.5));
    } else if (is("class_embedding") || is("_proj") || is("projection")) {
      value.normal_(0, std::pow(width, -0.5));
    } else {
      value.normal_(0, 0.02);  // patches, tokens, positions
    }
  }
}

}  // namespace reenact
