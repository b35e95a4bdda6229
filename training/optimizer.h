// AdamW and the exponential moving average of a model, with state that can be stored and restored.
//
// Not thread-safe. Tensors are float32 on one device.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace reenact {

using TensorMap = std::map<std::string, torch::Tensor>;

// A trainable parameter by the name it has in checkpoints.
struct NamedParameter {
  std::string name;
  torch::Tensor tensor;
  double lr_ratio = 1;  // learning rate of this parameter as a share of the common one
};

// AdamW (Loshchilov & Hutter 2019) with the gradient's norm clipped over all parameters.
class AdamW {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
    double clip_norm = 1;  // 0: no clipping
  };

  AdamW(std::vector<NamedParameter> parameters, Options options);

  const std::vector<NamedParameter>& parameters() const { return parameters_; }

  // Updates every parameter that has a gradient and clears the gradients. Returns the norm of the
  // gradient before clipping; if that is not finite nothing is updated.
  double Step(double learning_rate);

  // Moments as "<prefix>m.<name>", "<prefix>v.<name>", and the number of updates "<prefix>steps".
  void Save(const std::string& prefix, TensorMap& tensors) const;
  // kInvalidArgument if a moment is missing or has another shape; then nothing is changed.
  absl::Status Load(const std::string& prefix, const TensorMap& tensors);

 private:
  const Options options_;
  std::vector<NamedParameter> parameters_;
  std::vector<torch::Tensor> first_moments_;
  std::vector<torch::Tensor> second_moments_;
  std::vector<torch::Tensor> steps_;  // updates done, one float per parameter
};

// shadow <- decay * shadow + (1 - decay) * model, for every parameter. The decay rises from 0.1 to
// `decay` as (1 + n) / (10 + n) with the number n of updates, so early averages forget the start.
class MovingAverage {
 public:
  // Copies the model into the shadow and freezes it. `model` and `shadow` have one architecture.
  MovingAverage(const torch::nn::Module& model, torch::nn::Module& shadow, double decay);

  void Update();

  int64_t num_updates() const { return num_updates_; }
  // After the shadow's weights were restored from a checkpoint.
  void set_num_updates(int64_t n) { num_updates_ = n; }

 private:
  const double decay_;
  int64_t num_updates_ = 0;
  std::vector<torch::Tensor> model_;
  std::vector<torch::Tensor> shadow_;
};

}  // namespace reenact
