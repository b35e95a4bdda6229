// Trains the autoencoder (Stable Diffusion's AutoencoderKL) on crops of the people.
//
// loss = L1 + 0.5 MSE + 1.0 L1 of 8x8 block means + kl_weight * KL; the first two count
// `expressive_weight` times in eyes and mouth, and somewhat more around them (PixelWeight). The
// block means are there because per-pixel losses learn edges long before the colours of large
// areas.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/models/autoencoder_kl.h"
#include "training/data_cache.h"
#include "training/gradient_step.h"
#include "training/training_run.h"

namespace reenact {

struct AutoencoderTrainingOptions {
  int64_t latent_channels = 4;
  std::vector<int64_t> block_out_channels = {16, 32, 64, 96};
  int64_t layers_per_block = 1;
  int64_t norm_num_groups = 8;
  int64_t crop = 64;  // pixels; a multiple of the downscale
  int64_t batch = 8;
  double learning_rate = 3e-3;
  int64_t warmup_steps = 50;
  double decay_from = 0.5;  // progress at which the cosine begins
  double final_lr_ratio = 0.03;
  double ema = 0.998;
  double kl_weight = 3e-5;
  double expressive_weight = 5;
  // What lies up to so many pixels around eyes and mouth counts the square root of that: brows,
  // frames of glasses, beards. 0: nothing.
  int64_t surround = 9;
  // Leaves the encoder as it is: latents made before stay valid while pictures get better.
  bool decoder_only = false;
  bool bfloat16 = true;
  uint64_t seed = 1;
  torch::Device device = torch::kCPU;  // of the networks; crops are cut on the CPU
  GradientOptions gradient;
};

// Fidelity of an autoencoder on whole pictures.
struct Fidelity {
  double psnr = 0;             // dB, all pixels
  double psnr_expressive = 0;  // dB, pixels of eyes and mouth
};

class AutoencoderTrainee : public Trainee {
 public:
  // Both caches must outlive the trainee; `held_out` (may be null) is for Evaluate().
  // kInvalidArgument if sizes do not fit.
  static absl::StatusOr<std::unique_ptr<AutoencoderTrainee>> Create(
      AutoencoderTrainingOptions options, const DataCache& data, const DataCache* held_out);

  absl::StatusOr<StepResult> Step(int64_t step, double progress) override;
  std::vector<std::pair<std::string, double>> Evaluate() override;
  void Save(TensorMap& tensors) const override;
  absl::Status Load(const TensorMap& tensors) override;
  std::string Description() const override;

  // Held-out pictures above, their reconstructions below.
  std::vector<std::vector<torch::Tensor>> Samples() override;
  // Leaves the gradient of step `step` in the parameters().
  absl::StatusOr<Gradient> BackPropagate(int64_t step);
  const std::vector<NamedParameter>& parameters() const { return optimizer_.parameters(); }

  // Begins from a trained autoencoder of the same configuration, or of fewer latent channels
  // (WidenAutoencoder), instead of random weights.
  absl::Status StartFrom(const AutoencoderKLConfig& about, const TensorMap& weights);
  // The averaged weights: what is used after training.
  AutoencoderKL& averaged() { return averaged_; }
  const AutoencoderKLConfig& config() const { return config_; }

 private:
  AutoencoderTrainee(AutoencoderTrainingOptions options, AutoencoderKLConfig config,
                     const DataCache& data, const DataCache* held_out);
  // Rows number * batch and following.
  MicroBatch LossOf(int64_t number);

  const AutoencoderTrainingOptions options_;
  const AutoencoderKLConfig config_;
  const DataCache& data_;
  const DataCache* held_out_;
  AutoencoderKL model_;
  AutoencoderKL averaged_;
  AdamW optimizer_;
  MovingAverage average_;
};

// What each pixel counts in the loss; `masks` [N,1,H,W] float32, 1 in eyes and mouth, else 0.
torch::Tensor PixelWeight(const torch::Tensor& masks, const AutoencoderTrainingOptions& options);

// uint8 [N,3,H,W] pictures as the autoencoder takes them: float32 in [-1, 1].
torch::Tensor ToUnitRange(const torch::Tensor& pictures);
// The reverse, rounded and clamped.
torch::Tensor ToBytes(const torch::Tensor& pictures);

// Mean fidelity over at most `max_pictures` of the cache, spread over its people.
Fidelity MeasureFidelity(AutoencoderKL& autoencoder, const DataCache& data, int64_t max_pictures);

// Latent means of every frame, unscaled, float32 [P,F,C,h,w] on the CPU.
torch::Tensor EncodeAll(AutoencoderKL& autoencoder, const DataCache& data, bool bfloat16);

}  // namespace reenact
