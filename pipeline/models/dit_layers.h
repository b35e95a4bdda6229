// Layers of DiT (Peebles & Xie 2022, "Scalable Diffusion Models with Transformers";
// facebookresearch/DiT@ed81ce2, models.py), shared by dit.h and sdit.h.
//
// Legend: B rows, T frames of a row, S tokens of a frame, D hidden size, p patch side, C channels.
// x tokens [B, T, S, D]; c conditions [B, T, D], one per frame. DiT itself is T = 1.
// Child names are checkpoint keys. Thread-compatible.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "torch/torch.h"

namespace reenact {

// [P(sin), P(cos)] of positions [n] -> [n, size] in double, frequencies 10000^(-i / (size/2)).
torch::Tensor SinCosTable(const torch::Tensor& positions, int64_t size);
// [1, side^2, D] float32: first half of D encodes the column, second half the row.
torch::Tensor SpatialPositions(int64_t side, int64_t hidden_size);
// [1, T, D] float32: the slot index.
torch::Tensor TemporalPositions(int64_t num_frames, int64_t hidden_size);
// t [N] -> [N, 256]: [cos, sin] of t * exp(-ln(10000) i / 128). Always float32.
torch::Tensor TimestepFeatures(const torch::Tensor& t);

// What DiT and sDiT ask of their common fields; `network` begins the message. kInvalidArgument
// names the field.
absl::Status ValidateBackbone(const char* network, int64_t latent_channels, int64_t latent_size,
                              int64_t patch_size, int64_t hidden_size, int64_t num_heads,
                              int64_t depth);

// Layer norm over D without parameters, eps 1e-6.
torch::Tensor Normalize(const torch::Tensor& x);

// One branch's adaLN-Zero vectors, each [B, T, 1, D].
struct Modulation {
  torch::Tensor shift, scale, gate;
};
// x (1 + scale) + shift.
torch::Tensor Modulate(const torch::Tensor& x, const Modulation& m);

class TimestepEmbedderImpl : public torch::nn::Module {
 public:
  explicit TimestepEmbedderImpl(int64_t hidden_size);
  // t [N] -> [N, D].
  torch::Tensor forward(const torch::Tensor& t);

 private:
  torch::nn::Sequential mlp_;
};
TORCH_MODULE(TimestepEmbedder);

class PatchEmbedImpl : public torch::nn::Module {
 public:
  PatchEmbedImpl(int64_t in_channels, int64_t patch_size, int64_t hidden_size);
  // [N, C, h, w] -> [N, S, D], token = row * (w / p) + column.
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Conv2d proj_;
};
TORCH_MODULE(PatchEmbed);

// Keys and values of tokens that others may attend to, [B or 1, heads, S, D / heads].
struct KeyValues {
  torch::Tensor k, v;
};

class AttentionImpl : public torch::nn::Module {
 public:
  AttentionImpl(int64_t hidden_size, int64_t num_heads);
  // Joint attention of a row's T * S tokens to each other and to `context`, if that is defined.
  // `mask`: bool, broadcastable to [B, 1, 1, keys], keys in the order own tokens, context.
  torch::Tensor forward(const torch::Tensor& x, const KeyValues& context = {},
                        const torch::Tensor& mask = {});
  KeyValues keys_values(const torch::Tensor& x);

 private:
  int64_t num_heads_;
  torch::nn::Linear qkv_, proj_;
};
TORCH_MODULE(Attention);

class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(int64_t hidden_size);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Linear fc1_, fc2_;
};
TORCH_MODULE(Mlp);

// SiLU, then a linear layer to `num_vectors` vectors per condition.
class AdaLnImpl : public torch::nn::Module {
 public:
  AdaLnImpl(int64_t hidden_size, int64_t num_vectors);
  // c [B, T, D] -> num_vectors of [B, T, 1, D].
  std::vector<torch::Tensor> forward(const torch::Tensor& c);

 private:
  int64_t num_vectors_;
  torch::nn::Linear linear_;
};
TORCH_MODULE(AdaLn);

class DiTBlockImpl : public torch::nn::Module {
 public:
  DiTBlockImpl(int64_t hidden_size, int64_t num_heads);
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& c,
                        const KeyValues& context = {}, const torch::Tensor& mask = {});
  // What this block's attention would let others see of the tokens that enter it.
  KeyValues keys_values(const torch::Tensor& x, const torch::Tensor& c);

  struct Modulations {
    Modulation msa, mlp;
  };
  Modulations modulations(const torch::Tensor& c);
  Attention attn() const { return attn_; }
  Mlp mlp() const { return mlp_; }

 private:
  Attention attn_;
  Mlp mlp_;
  AdaLn adaLN_modulation_;
};
TORCH_MODULE(DiTBlock);

class FinalLayerImpl : public torch::nn::Module {
 public:
  FinalLayerImpl(int64_t hidden_size, int64_t patch_size, int64_t out_channels);
  // [B, T, S, D] -> [B, T, S, p * p * C].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& c);

 private:
  torch::nn::Linear linear_;
  AdaLn adaLN_modulation_;
};
TORCH_MODULE(FinalLayer);

// [..., S, p * p * C], channel fastest, -> [..., C, h, w] for square pictures.
torch::Tensor Unpatchify(const torch::Tensor& tokens, int64_t patch_size, int64_t channels);

// DiT's initialisation of the layers above: linear and patch layers Xavier-uniform with zero bias,
// the timestep MLP N(0, 0.02), every adaLN head and the final linear layer zero. Draws from torch's
// default generator.
void InitializeDiTLayers(torch::nn::Module& module);

}  // namespace reenact
