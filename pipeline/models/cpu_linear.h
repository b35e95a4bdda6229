// Linear layers with weights prepared once for the CPU: oneDNN's blocked layout, by libtorch's own
// operators, where they are registered; at::linear otherwise. oneDNN is faster than libtorch's
// default (MKL) in float32 on processors that are not Intel's. Thread-safe once made.
#pragma once

#include "torch/torch.h"

namespace reenact {

enum class Activation { kNone, kTanhGelu };

class CpuLinear {
 public:
  CpuLinear() = default;
  // weight [out, in], bias [out] float32; computes in `dtype` (float32 or bfloat16).
  CpuLinear(const torch::Tensor& weight, const torch::Tensor& bias, torch::Dtype dtype);

  // x [..., in] of `dtype` -> [..., out] of `dtype`.
  torch::Tensor operator()(const torch::Tensor& x, Activation activation = Activation::kNone) const;

 private:
  bool reordered_ = false;
  torch::Tensor weight_, bias_;
};

}  // namespace reenact
