#include "pipeline/models/autoencoder_kl.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "pipeline/models/attention.h"
#include "pipeline/models/layers.h"

namespace reenact {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

constexpr double kNormEpsilon = 1e-6;

nn::Conv2d Conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).stride(stride).padding(padding));
}

nn::GroupNorm Norm(const AutoencoderKLConfig& config, int64_t channels) {
  return nn::GroupNorm(nn::GroupNormOptions(config.norm_num_groups, channels).eps(kNormEpsilon));
}

void Record(AutoencoderKLImpl::Trace* trace, const std::string& name, const Tensor& value) {
  if (trace != nullptr) trace->emplace_back(name, value);
}

class ResnetImpl : public nn::Module {
 public:
  ResnetImpl(const AutoencoderKLConfig& config, int64_t in, int64_t out)
      : norm1_(register_module("norm1", Norm(config, in))),
        norm2_(register_module("norm2", Norm(config, out))),
        conv1_(register_module("conv1", Conv(in, out, 3, 1, 1))),
        conv2_(register_module("conv2", Conv(out, out, 3, 1, 1))) {
    if (in != out) conv_shortcut_ = register_module("conv_shortcut", Conv(in, out, 1));
  }
  Tensor forward(const Tensor& x) {
    const Tensor h = conv1_(torch::silu(norm1_(x)));
    return (conv_shortcut_ ? conv_shortcut_(x) : x) + conv2_(torch::silu(norm2_(h)));
  }

 private:
  nn::GroupNorm norm1_, norm2_;
  nn::Conv2d conv1_, conv2_;
  nn::Conv2d conv_shortcut_{nullptr};
};
TORCH_MODULE(Resnet);

// Single-head self-attention over the pixels.
class PixelAttentionImpl : public nn::Module {
 public:
  PixelAttentionImpl(const AutoencoderKLConfig& config, int64_t channels)
      : group_norm_(register_module("group_norm", Norm(config, channels))),
        to_q_(register_module("to_q", MakeLinear(channels, channels))),
        to_k_(register_module("to_k", MakeLinear(channels, channels))),
        to_v_(register_module("to_v", MakeLinear(channels, channels))),
        to_out_(register_module("to_out", nn::ModuleList())) {
    to_out_->push_back(MakeLinear(channels, channels));
  }
  Tensor forward(const Tensor& x) {                              // [N, C, h, w]
    const Tensor h = group_norm_(x).flatten(2).transpose(1, 2);  // [N, hw, C]
    const auto heads = [&](nn::Linear& to) { return SplitHeads(to(h), 1); };
    const Tensor y = MergeHeads(FusedAttention(heads(to_q_), heads(to_k_), heads(to_v_)));
    return x + to_out_->ptr<nn::LinearImpl>(0)->forward(y).transpose(1, 2).reshape(x.sizes());
  }

 private:
  nn::GroupNorm group_norm_;
  nn::Linear to_q_, to_k_, to_v_;
  nn::ModuleList to_out_;
};
TORCH_MODULE(PixelAttention);

class MidBlockImpl : public nn::Module {
 public:
  MidBlockImpl(const AutoencoderKLConfig& config, int64_t channels) {
    auto resnets = register_module("resnets", nn::ModuleList());
    resnets->push_back(first_ = Resnet(config, channels, channels));
    resnets->push_back(second_ = Resnet(config, channels, channels));
    auto attentions = register_module("attentions", nn::ModuleList());
    attentions->push_back(attention_ = PixelAttention(config, channels));
  }
  Tensor forward(const Tensor& x, AutoencoderKLImpl::Trace* trace) {
    const Tensor h = attention_(first_(x));
    Record(trace, "mid_attn", h);
    return second_(h);
  }

 private:
  Resnet first_{nullptr}, second_{nullptr};
  PixelAttention attention_{nullptr};
};
TORCH_MODULE(MidBlock);

// The stride-2 convolution of the encoder: padded at the right and the bottom only.
class DownsampleImpl : public nn::Module {
 public:
  explicit DownsampleImpl(int64_t channels)
      : conv_(register_module("conv", Conv(channels, channels, 3, /*stride=*/2))) {}
  Tensor forward(const Tensor& x) { return conv_(torch::constant_pad_nd(x, {0, 1, 0, 1})); }

 private:
  nn::Conv2d conv_;
};
TORCH_MODULE(Downsample);

class UpsampleImpl : public nn::Module {
 public:
  explicit UpsampleImpl(int64_t channels)
      : conv_(register_module("conv", Conv(channels, channels, 3, 1, 1))) {}
  Tensor forward(const Tensor& x) {
    return conv_(torch::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
  }

 private:
  nn::Conv2d conv_;
};
TORCH_MODULE(Upsample);

// One resolution: resnets, then a change of resolution unless it is the last.
template <typename Resample>
class StageImpl : public nn::Module {
 public:
  StageImpl(const AutoencoderKLConfig& config, int64_t in, int64_t out, int64_t num_resnets,
            const char* resample_name, bool resample) {
    auto list = register_module("resnets", nn::ModuleList());
    for (int64_t i = 0; i < num_resnets; ++i) {
      resnets_.push_back(Resnet(config, i == 0 ? in : out, out));
      list->push_back(resnets_.back());
    }
    if (resample) {
      auto resamplers = register_module(resample_name, nn::ModuleList());
      resamplers->push_back(resample_ = Resample(out));
    }
  }
  Tensor forward(Tensor x) {
    for (Resnet& resnet : resnets_) x = resnet(x);
    return resample_ ? resample_(x) : x;
  }

 private:
  std::vector<Resnet> resnets_;
  Resample resample_{nullptr};
};

}  // namespace

class AutoencoderEncoderImpl : public nn::Module {
 public:
  using Stage = StageImpl<Downsample>;

  explicit AutoencoderEncoderImpl(const AutoencoderKLConfig& config) {
    const std::vector<int64_t>& widths = config.block_out_channels;
    conv_in_ = register_module("conv_in", Conv(config.in_channels, widths.front(), 3, 1, 1));
    auto list = register_module("down_blocks", nn::ModuleList());
    for (size_t i = 0; i < widths.size(); ++i) {
      stages_.push_back(std::make_shared<Stage>(config, widths[i == 0 ? 0 : i - 1], widths[i],
                                                config.layers_per_block, "downsamplers",
                                                i + 1 < widths.size()));
      list->push_back(stages_.back());
    }
    mid_block_ = register_module("mid_block", MidBlock(config, widths.back()));
    conv_norm_out_ = register_module("conv_norm_out", Norm(config, widths.back()));
    conv_out_ =
        register_module("conv_out", Conv(widths.back(), 2 * config.latent_channels, 3, 1, 1));
  }

  Tensor forward(const Tensor& x, AutoencoderKLImpl::Trace* trace) {
    Tensor h = conv_in_(x);
    Record(trace, "conv_in", h);
    for (size_t i = 0; i < stages_.size(); ++i) {
      h = stages_[i]->forward(h);
      Record(trace, absl::StrCat("down.", i), h);
    }
    h = mid_block_(h, trace);
    Record(trace, "mid", h);
    h = conv_out_(torch::silu(conv_norm_out_(h)));
    Record(trace, "conv_out", h);
    return h;
  }

 private:
  nn::Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  std::vector<std::shared_ptr<Stage>> stages_;
  MidBlock mid_block_{nullptr};
  nn::GroupNorm conv_norm_out_{nullptr};
};

class AutoencoderDecoderImpl : public nn::Module {
 public:
  using Stage = StageImpl<Upsample>;

  explicit AutoencoderDecoderImpl(const AutoencoderKLConfig& config) {
    const std::vector<int64_t> widths(config.block_out_channels.rbegin(),
                                      config.block_out_channels.rend());
    conv_in_ = register_module("conv_in", Conv(config.latent_channels, widths.front(), 3, 1, 1));
    mid_block_ = register_module("mid_block", MidBlock(config, widths.front()));
    auto list = register_module("up_blocks", nn::ModuleList());
    for (size_t i = 0; i < widths.size(); ++i) {
      stages_.push_back(std::make_shared<Stage>(config, widths[i == 0 ? 0 : i - 1], widths[i],
                                                config.layers_per_block + 1, "upsamplers",
                                                i + 1 < widths.size()));
      list->push_back(stages_.back());
    }
    conv_norm_out_ = register_module("conv_norm_out", Norm(config, widths.back()));
    conv_out_ = register_module("conv_out", Conv(widths.back(), config.in_channels, 3, 1, 1));
  }

  Tensor forward(const Tensor& z, AutoencoderKLImpl::Trace* trace) {
    Tensor h = conv_in_(z);
    Record(trace, "conv_in", h);
    h = mid_block_(h, trace);
    Record(trace, "mid", h);
    for (size_t i = 0; i < stages_.size(); ++i) {
      h = stages_[i]->forward(h);
      Record(trace, absl::StrCat("up.", i), h);
    }
    return conv_out_(torch::silu(conv_norm_out_(h)));
  }

 private:
  nn::Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  MidBlock mid_block_{nullptr};
  std::vector<std::shared_ptr<Stage>> stages_;
  nn::GroupNorm conv_norm_out_{nullptr};
};

absl::Status Validate(const AutoencoderKLConfig& config) {
  const auto invalid = [](const std::string& problem) {
    return absl::InvalidArgumentError(absl::StrCat("autoencoder: ", problem));
  };
  if (config.in_channels < 1) return invalid("in_channels must be 1 or more");
  if (config.latent_channels < 1) return invalid("latent_channels must be 1 or more");
  if (config.layers_per_block < 1) return invalid("layers_per_block must be 1 or more");
  if (config.norm_num_groups < 1) return invalid("norm_num_groups must be 1 or more");
  if (config.block_out_channels.empty() || config.block_out_channels.size() > 8) {
    return invalid("block_out_channels must have 1 to 8 entries");
  }
  for (int64_t width : config.block_out_channels) {
    if (width < 1 || width % config.norm_num_groups != 0) {
      return invalid("block_out_channels must be positive multiples of norm_num_groups");
    }
  }
  if (!(config.scaling_factor > 0) || !std::isfinite(config.scaling_factor)) {
    return invalid("scaling_factor must be positive");
  }
  return absl::OkStatus();
}

Tensor Moments::kl() const {
  const Tensor nats = 0.5 * (mean.square() + torch::exp(logvar) - 1.0 - logvar);
  return nats.flatten(1).sum(1);
}

Moments MomentsFrom(const Tensor& moments) {
  const auto halves = moments.chunk(2, 1);
  return {.mean = halves[0], .logvar = halves[1].clamp(-30.0, 20.0)};
}

AutoencoderKLImpl::AutoencoderKLImpl(const AutoencoderKLConfig& config) : config_(config) {
  encoder_ = register_module("encoder", std::make_shared<AutoencoderEncoderImpl>(config));
  decoder_ = register_module("decoder", std::make_shared<AutoencoderDecoderImpl>(config));
  const int64_t C = config.latent_channels;
  quant_conv_ = register_module("quant_conv", Conv(2 * C, 2 * C, 1));
  post_quant_conv_ = register_module("post_quant_conv", Conv(C, C, 1));
}

Moments AutoencoderKLImpl::encode(const Tensor& x) { return encode(x, nullptr); }
Tensor AutoencoderKLImpl::decode(const Tensor& z) { return decode(z, nullptr); }

Moments AutoencoderKLImpl::encode(const Tensor& x, Trace* trace) {
  return MomentsFrom(quant_conv_(encoder_->forward(x, trace)));
}

Tensor AutoencoderKLImpl::decode(const Tensor& z, Trace* trace) {
  const Tensor h = post_quant_conv_(z);
  Record(trace, "post_quant", h);
  return decoder_->forward(h, trace);
}

void InitializeWeights(AutoencoderKL& model) {
  for (const auto& module : model->modules()) {
    if (auto* conv = module->as<nn::Conv2dImpl>()) conv->reset_parameters();
    if (auto* linear = module->as<nn::LinearImpl>()) linear->reset_parameters();
    if (auto* norm = module->as<nn::GroupNormImpl>()) norm->reset_parameters();
  }
}

}  // namespace reenact
