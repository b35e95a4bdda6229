#include "pipeline/models/cpu_vae_decoder.h"

#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "pipeline/models/cpu_attention.h"
#include "pipeline/models/cpu_conv.h"
#include "pipeline/models/cpu_kernels.h"
#include "pipeline/models/cpu_scratch.h"
#include "pipeline/models/cpu_winograd.h"

namespace reenact {
namespace {

using torch::Tensor;

// fn(i) for every picture, each on one thread.
template <typename Function>
void ForPictures(int64_t num_pictures, const Function& fn) {
  at::parallel_for(0, num_pictures, 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference;
    for (int64_t i = begin; i < end; ++i) fn(i);
  });
}

// libtorch operators.
class PortableDecoder final : public VaeDecoder {
 public:
  PortableDecoder(const AutoencoderKL& autoencoder, torch::Dtype dtype)
      : copy_(autoencoder->config()), dtype_(dtype) {
    const torch::NoGradGuard no_grad;
    const auto from = autoencoder->named_parameters();
    for (auto& item : copy_->named_parameters()) item.value().copy_(from[item.key()]);
    copy_->to(dtype);
    copy_->eval();
  }

  Tensor Decode(const Tensor& z) override {
    const c10::InferenceMode inference;
    std::vector<Tensor> pictures(static_cast<size_t>(z.size(0)));
    ForPictures(z.size(0), [&](int64_t i) {
      const Tensor latent = z.narrow(0, i, 1).to(dtype_).contiguous();
      pictures[static_cast<size_t>(i)] = copy_->decode(latent).to(torch::kFloat32);
    });
    return torch::cat(pictures);
  }

 private:
  AutoencoderKL copy_;
  const torch::Dtype dtype_;
};

#if defined(__x86_64__)
template <typename E>
class NativeDecoder final : public VaeDecoder {
 public:
  explicit NativeDecoder(const AutoencoderKL& autoencoder) : config_(autoencoder->config()) {
    const torch::NoGradGuard no_grad;
    for (const auto& item : autoencoder->named_parameters()) {
      parameters_.emplace(item.key(), item.value().detach().to(torch::kFloat32).contiguous());
    }
    const auto& widths = config_.block_out_channels;
    const Tensor& post_quant = parameters_.at("post_quant_conv.weight");
    post_quant_ = PackConv<float>(post_quant.data_ptr<float>(), Data("post_quant_conv.bias"),
                                  post_quant.size(0), post_quant.size(1), 1);
    conv_in_ = MakeConv("decoder.conv_in");
    mid_first_ = MakeResnet("decoder.mid_block.resnets.0");
    mid_second_ = MakeResnet("decoder.mid_block.resnets.1");
    MakeAttention("decoder.mid_block.attentions.0");
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string name = absl::StrCat("decoder.up_blocks.", i);
      Stage stage;
      for (int64_t j = 0; j <= config_.layers_per_block; ++j) {
        stage.resnets.push_back(MakeResnet(absl::StrCat(name, ".resnets.", j)));
      }
      if (i + 1 < widths.size()) {
        const Tensor& weight = parameters_.at(name + ".upsamplers.0.conv.weight");
        stage.doubling =
            PackDoublingConv<E>(weight.data_ptr<float>(), Data(name + ".upsamplers.0.conv.bias"),
                                weight.size(0), weight.size(1));
      }
      stages_.push_back(std::move(stage));
    }
    norm_out_ = MakeNorm("decoder.conv_norm_out");
    conv_out_ = MakeConv("decoder.conv_out");
    parameters_.clear();
  }

  Tensor Decode(const Tensor& z) override {
    const c10::InferenceMode inference;
    const int64_t N = z.size(0), height = z.size(2), width = z.size(3);
    const Tensor latents = z.to(torch::kFloat32).permute({0, 2, 3, 1}).contiguous();
    Tensor pictures = torch::empty(
        {N, height * config_.downscale(), width * config_.downscale(), config_.in_channels});
    const float* from = latents.data_ptr<float>();
    float* to = pictures.data_ptr<float>();
    ForPictures(N, [&](int64_t i) {
      auto scratch = scratch_.Take();
      DecodeOne(from + i * latents.stride(0), height, width, to + i * pictures.stride(0),
                scratch.get());
      scratch_.Give(std::move(scratch));
    });
    return pictures.permute({0, 3, 1, 2});
  }

 private:
  struct Norm {
    std::vector<float> weight, bias;
  };
  struct Resnet {
    Norm norm1, norm2;
    PackedWinogradConv<E> conv1, conv2;
    PackedConv<E> shortcut;  // 0 inputs: none
  };
  struct Stage {
    std::vector<Resnet> resnets;
    std::vector<PackedConv<E>> doubling;  // empty: the last stage
  };
  // A picture on its way, [height, width, channels] float32, with what its next norm needs.
  struct Picture {
    int64_t height = 0, width = 0, channels = 0;
    AlignedBuffer<float> data;
    ChannelSums sums{0};

    int64_t num_pixels() const { return height * width; }
    void Reset(int64_t new_height, int64_t new_width, int64_t new_channels) {
      height = new_height;
      width = new_width;
      channels = new_channels;
      data.Reserve(height * width * channels);
      sums = ChannelSums(channels);
    }
  };
  struct Scratch {
    Picture x, other;
    AlignedBuffer<E> hidden, qkv, attended, keys_values;
    AlignedBuffer<float> scores;
    BorderedPicture<E> input;
    PairedPicture<E> pairs;
    BorderedPicture<float> latent;
  };

  const float* Data(const std::string& name) const {
    return parameters_.at(name).data_ptr<float>();
  }
  PackedConv<E> MakeConv(const std::string& name) const {
    const Tensor& weight = parameters_.at(name + ".weight");
    return PackConv<E>(weight.data_ptr<float>(), Data(name + ".bias"), weight.size(0),
                       weight.size(1), weight.size(2));
  }
  PackedWinogradConv<E> MakeWinogradConv(const std::string& name) const {
    const Tensor& weight = parameters_.at(name + ".weight");
    return PackWinogradConv<E>(weight.data_ptr<float>(), Data(name + ".bias"), weight.size(0),
                               weight.size(1));
  }
  Norm MakeNorm(const std::string& name) const {
    const int64_t channels = parameters_.at(name + ".weight").size(0);
    return {.weight = {Data(name + ".weight"), Data(name + ".weight") + channels},
            .bias = {Data(name + ".bias"), Data(name + ".bias") + channels}};
  }
  Resnet MakeResnet(const std::string& name) const {
    Resnet resnet = {.norm1 = MakeNorm(name + ".norm1"),
                     .norm2 = MakeNorm(name + ".norm2"),
                     .conv1 = MakeWinogradConv(name + ".conv1"),
                     .conv2 = MakeWinogradConv(name + ".conv2"),
                     .shortcut = {}};
    if (parameters_.contains(name + ".conv_shortcut.weight")) {
      resnet.shortcut = MakeConv(name + ".conv_shortcut");
    }
    return resnet;
  }
  void MakeAttention(const std::string& name) {
    const auto concatenated = [&](const char* suffix) {
      return torch::cat({parameters_.at(absl::StrCat(name, ".to_q.", suffix)),
                         parameters_.at(absl::StrCat(name, ".to_k.", suffix)),
                         parameters_.at(absl::StrCat(name, ".to_v.", suffix))});
    };
    const Tensor weight = concatenated("weight"), bias = concatenated("bias");
    const int64_t channels = weight.size(1);
    attention_norm_ = MakeNorm(name + ".group_norm");
    qkv_ = PackLinear<E>(weight.data_ptr<float>(), bias.data_ptr<float>(), 3 * channels, channels);
    attention_out_ = PackLinear<E>(Data(name + ".to_out.0.weight"), Data(name + ".to_out.0.bias"),
                                   channels, channels);
    ones_.assign(static_cast<size_t>(channels), 1.0f);
  }

  ChannelAffine Affine(const Norm& norm, const ChannelSums& sums, int64_t num_pixels) const {
    return GroupNormAffine(sums, num_pixels, config_.norm_num_groups, norm.weight.data(),
                           norm.bias.data());
  }
  // input = silu(norm(x)).
  template <typename Input>
  void NormSilu(const Norm& norm, const Picture& x, Input* input) const {
    AffineActivate<E>(x.data.data(), x.height, x.width, x.channels,
                      Affine(norm, x.sums, x.num_pixels()), PictureActivation::kSilu, input);
  }

  // to = conv(input), or to += conv(input).
  template <typename Conv, typename Input>
  static void ConvolveTo(const Conv& conv, const Input& input, bool add, Picture* to) {
    if (add) {
      to->sums = ChannelSums(conv.out);
    } else {
      to->Reset(input.height(), input.width(), conv.out);
    }
    Convolve<E>(conv, input,
                {.kind = add ? ConvOutput<E>::Kind::kAdd : ConvOutput<E>::Kind::kFloat,
                 .to_float = to->data.data(),
                 .pixel_stride = conv.out,
                 .row_stride = conv.out * input.width(),
                 .sums = &to->sums});
  }

  void Run(const Resnet& resnet, Scratch* scratch) const {
    Picture& x = scratch->x;
    NormSilu(resnet.norm1, x, &scratch->pairs);
    const int64_t height = x.height, width = x.width, channels = resnet.conv1.out;
    scratch->hidden.Reserve(height * width * channels);
    ChannelSums sums(channels);
    Convolve<E>(resnet.conv1, scratch->pairs,
                {.kind = ConvOutput<E>::Kind::kStore,
                 .to = scratch->hidden.data(),
                 .pixel_stride = channels,
                 .row_stride = channels * width,
                 .sums = &sums});
    if (resnet.shortcut.in > 0) {
      CopyPicture(x.data.data(), height, width, x.channels, &scratch->input);
      ConvolveTo(resnet.shortcut, scratch->input, /*add=*/false, &scratch->other);
      std::swap(scratch->x, scratch->other);
    }
    AffineActivate<E>(scratch->hidden.data(), height, width, channels,
                      Affine(resnet.norm2, sums, height * width), PictureActivation::kSilu,
                      &scratch->pairs);
    ConvolveTo(resnet.conv2, scratch->pairs, /*add=*/true, &scratch->x);
  }

  // Single-head self-attention over the pixels.
  void Attention(Scratch* scratch) const {
    Picture& x = scratch->x;
    const int64_t C = x.channels, N = x.num_pixels();
    const HeadShape shape = {.num_heads = 1, .head_size = C};
    AffineActivate<E>(x.data.data(), x.height, x.width, C, Affine(attention_norm_, x.sums, N),
                      PictureActivation::kNone, &scratch->input);
    scratch->qkv.Reserve(N * 3 * C);
    scratch->attended.Reserve(N * C);
    scratch->keys_values.Reserve(PackedKeyValuesSize(shape, N));
    E* qkv = scratch->qkv.data();
    for (int64_t y = 0; y < x.height; ++y) {
      Linear<E>(qkv_, scratch->input.at(y, 0), scratch->input.pixel_stride(), x.width,
                {.to = qkv + y * x.width * 3 * C, .stride = 3 * C});
    }
    PackKeyValues(shape, qkv + C, qkv + 2 * C, 3 * C, N, 0, 1, scratch->keys_values.data());
    const PackedKeyValues<E> parts[] = {{scratch->keys_values.data(), N}};
    Attend<E>(shape, qkv, 3 * C, N, parts, scratch->attended.data(), C, &scratch->scores);
    Linear<E>(attention_out_, scratch->attended.data(), C, N,
              {.kind = LinearOutput<E>::Kind::kGatedAdd,
               .to_float = x.data.data(),
               .stride = C,
               .gates = {.data = ones_.data()}});
    x.sums = SumChannels(x.data.data(), N, C);
  }

  // x becomes twice as high and wide.
  static void Double(const std::vector<PackedConv<E>>& convs, Scratch* scratch) {
    const Picture& x = scratch->x;
    Picture& doubled = scratch->other;
    const int64_t channels = convs[0].out;
    CopyPicture(x.data.data(), x.height, x.width, x.channels, &scratch->input);
    doubled.Reset(2 * x.height, 2 * x.width, channels);
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t first_pixel = i / 2 * doubled.width + i % 2;
      Convolve<E>(convs[static_cast<size_t>(i)], scratch->input,
                  {.kind = ConvOutput<E>::Kind::kFloat,
                   .to_float = doubled.data.data() + first_pixel * channels,
                   .pixel_stride = 2 * channels,
                   .row_stride = 2 * doubled.width * channels,
                   .sums = &doubled.sums});
    }
    std::swap(scratch->x, scratch->other);
  }

  // latent [height, width, C] -> picture [H, W, in_channels].
  void DecodeOne(const float* latent, int64_t height, int64_t width, float* picture,
                 Scratch* scratch) const {
    const int64_t C = config_.latent_channels;
    CopyPicture(latent, height, width, C, &scratch->latent);
    scratch->x.Reset(height, width, C);
    Convolve<float>(post_quant_, scratch->latent,
                    {.kind = ConvOutput<float>::Kind::kFloat,
                     .to_float = scratch->x.data.data(),
                     .pixel_stride = C,
                     .row_stride = C * width});
    CopyPicture(scratch->x.data.data(), height, width, C, &scratch->input);
    ConvolveTo(conv_in_, scratch->input, /*add=*/false, &scratch->x);
    Run(mid_first_, scratch);
    Attention(scratch);
    Run(mid_second_, scratch);
    for (const Stage& stage : stages_) {
      for (const Resnet& resnet : stage.resnets) Run(resnet, scratch);
      if (!stage.doubling.empty()) Double(stage.doubling, scratch);
    }
    NormSilu(norm_out_, scratch->x, &scratch->input);
    Convolve<E>(conv_out_, scratch->input,
                {.kind = ConvOutput<E>::Kind::kFloat,
                 .to_float = picture,
                 .pixel_stride = conv_out_.out,
                 .row_stride = conv_out_.out * scratch->x.width});
  }

  const AutoencoderKLConfig config_;
  std::unordered_map<std::string, Tensor> parameters_;  // only during construction
  PackedConv<float> post_quant_;
  PackedConv<E> conv_in_, conv_out_;
  Resnet mid_first_, mid_second_;
  Norm attention_norm_, norm_out_;
  PackedLinear<E> qkv_, attention_out_;
  std::vector<float> ones_;
  std::vector<Stage> stages_;
  ScratchPool<Scratch> scratch_;
};
#endif

}  // namespace

bool HasNativeCpuPath([[maybe_unused]] const AutoencoderKLConfig& config,
                      [[maybe_unused]] ExecutorDtype dtype) {
#if defined(__x86_64__)
  if (dtype == ExecutorDtype::kFloat32) return HasAvx512<float>();
  // The attention's head is as wide as the picture; two elements make a word.
  return config.block_out_channels.back() % 2 == 0 && HasAvx512<Bfloat16>();
#else
  return false;
#endif
}

absl::StatusOr<std::unique_ptr<VaeDecoder>> MakeCpuVaeDecoder(const AutoencoderKL& autoencoder,
                                                              ExecutorDtype dtype, CpuPath path) {
  const bool single = dtype == ExecutorDtype::kFloat32;
  if (path == CpuPath::kPortable) {
    return std::make_unique<PortableDecoder>(autoencoder,
                                             single ? torch::kFloat32 : torch::kBFloat16);
  }
#if defined(__x86_64__)
  if (HasNativeCpuPath(autoencoder->config(), dtype)) {
    if (single) return std::make_unique<NativeDecoder<float>>(autoencoder);
    return std::make_unique<NativeDecoder<Bfloat16>>(autoencoder);
  }
#endif
  return absl::FailedPreconditionError("the CPU decoder has no kernels for this processor");
}

std::unique_ptr<VaeDecoder> MakeCpuVaeDecoder(const AutoencoderKL& autoencoder,
                                              ExecutorDtype dtype) {
  const CpuPath path =
      HasNativeCpuPath(autoencoder->config(), dtype) ? CpuPath::kNative : CpuPath::kPortable;
  return std::move(MakeCpuVaeDecoder(autoencoder, dtype, path).value());
}

}  // namespace reenact
