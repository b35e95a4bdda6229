#include "training/widen.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr double kNewLogVariance = -6;  // little noise beside latents of a variance of 1 and more

// Where `from` channels, or means and log variances of them one after the other, lie among more.
torch::Tensor Places(int64_t size, int64_t from, int64_t to) {
  const torch::Tensor channel = torch::arange(size);
  return channel + channel.div(from, "floor") * (to - from);
}

// `old` as part of zeros, at `places` of dimension `dim`.
torch::Tensor Spread(const torch::Tensor& old, int64_t dim, const torch::Tensor& places,
                     int64_t size) {
  std::vector<int64_t> shape = old.sizes().vec();
  shape[dim] = size;
  return torch::zeros(shape, old.options()).index_copy(dim, places, old);
}

}  // namespace

TensorMap WidenAutoencoder(TensorMap weights, int64_t from, int64_t to) {
  if (from == to) return weights;
  const auto widen = [&weights](const std::string& name, int64_t dim, const torch::Tensor& places,
                                int64_t size) {
    weights.at(name) = Spread(weights.at(name), dim, places, size);
  };
  const torch::Tensor moments = Places(2 * from, from, to), channels = Places(from, from, to);
  const torch::Tensor features = weights.at("encoder.conv_out.weight").narrow(0, 0, from).clone();
  for (const char* suffix : {"weight", "bias"}) {
    widen(absl::StrCat("encoder.conv_out.", suffix), 0, moments, 2 * to);
    widen(absl::StrCat("quant_conv.", suffix), 0, moments, 2 * to);
    widen(absl::StrCat("post_quant_conv.", suffix), 0, channels, to);
  }
  widen("quant_conv.weight", 1, moments, 2 * to);
  widen("post_quant_conv.weight", 1, channels, to);
  widen("decoder.conv_in.weight", 1, channels, to);

  torch::Tensor& quant = weights.at("quant_conv.weight");
  const double gain = quant.narrow(0, 0, from).square().sum(1).mean().sqrt().item<double>();
  for (int64_t c = from; c < to; ++c) {
    weights.at("encoder.conv_out.weight")[c] = torch::randn_like(features[0]) * features.std();
    quant[c][c] = gain;
    quant[to + c][to + c] = 1;
    weights.at("quant_conv.bias")[to + c] = kNewLogVariance;
    weights.at("post_quant_conv.weight")[c][c] = 1;
  }
  return weights;
}

TensorMap WidenSdit(TensorMap weights, const SDiTConfig& from, const SDiTConfig& config) {
  if (from.landmark_map_width() != config.landmark_map_width()) {
    torch::Tensor& maps = weights.at("map_embedder.weight");
    const int64_t known = from.landmark_map_channels();
    const torch::Tensor frequencies = maps.narrow(1, known, maps.size(1) - known);
    maps = torch::cat({torch::constant_pad_nd(maps.narrow(1, 0, known),
                                              {0, config.landmark_map_channels() - known}),
                       frequencies},
                      1);
    maps = torch::constant_pad_nd(maps, {0, config.landmark_map_width() - maps.size(1)});
  }
  torch::Tensor& identity = weights.at("mapping.clip_proj.weight");
  identity = torch::constant_pad_nd(identity, {0, config.identity_width() - from.identity_width()});
  const int64_t to = config.latent_channels;
  if (from.latent_channels == to) return weights;
  torch::Tensor& embedder = weights.at("x_embedder.proj.weight");
  embedder = Spread(embedder, 1, Places(from.latent_channels, from.latent_channels, to), to);
  const int64_t outputs = from.out_channels();
  const auto widen_outputs = [&](const torch::Tensor& out) {  // [p * p * outputs, ...]
    std::vector<int64_t> shape = out.sizes().vec();
    shape[0] = outputs;
    shape.insert(shape.begin(), out.size(0) / outputs);
    return Spread(out.reshape(shape), 1, Places(outputs, from.latent_channels, to),
                  outputs / from.latent_channels * to)
        .flatten(0, 1);
  };
  for (const char* name : {"final_layer.linear.weight", "final_layer.linear.bias"}) {
    weights.at(name) = widen_outputs(weights.at(name));
  }
  return weights;
}

}  // namespace reenact
