#include "pipeline/models/vae_decoder.h"

#include <utility>

#include "pipeline/models/device.h"
#include "pipeline/weights/load.h"

namespace reenact {
namespace {

using torch::Tensor;

class TorchVaeDecoder final : public VaeDecoder {
 public:
  // `autoencoder` is the decoder's own.
  TorchVaeDecoder(AutoencoderKL autoencoder, torch::Dtype dtype, torch::Device device)
      : autoencoder_(std::move(autoencoder)), dtype_(dtype), lane_(device, /*urgent=*/true) {
    lane_.Run([&] {
      autoencoder_->to(device, dtype);
      const torch::NoGradGuard no_grad;
      for (Tensor& weight : autoencoder_->parameters()) {
        if (weight.dim() == 4) {
          weight.set_data(weight.contiguous(at::MemoryFormat::ChannelsLast));
        }
      }
      return true;
    });
    autoencoder_->eval();
  }

  Tensor Decode(const Tensor& z) override {
    return lane_.Run([&] { return ToHost(Pictures(z)); });
  }

  Tensor DecodeToBytes(const Tensor& z) override {
    return lane_.Run([&] { return ToHost(PicturesToBytes(Pictures(z))); });
  }

 private:
  // [N, in_channels, H, W] float32, on the device.
  Tensor Pictures(const Tensor& z) {
    const c10::InferenceMode inference;
    const Tensor latents = ToDevice(z, lane_.device()).to(dtype_);
    return autoencoder_->decode(latents.contiguous(at::MemoryFormat::ChannelsLast))
        .to(torch::kFloat32);
  }

  AutoencoderKL autoencoder_;
  const torch::Dtype dtype_;
  DeviceLane lane_;
};

}  // namespace

Tensor VaeDecoder::DecodeToBytes(const Tensor& z) { return PicturesToBytes(Decode(z)); }

Tensor PicturesToBytes(const Tensor& pictures) {
  const c10::InferenceMode inference;
  return pictures.permute({0, 2, 3, 1})
      .add(1)
      .mul(127.5)
      .round()
      .clamp(0, 255)
      .to(torch::kUInt8)
      .contiguous();
}

absl::StatusOr<std::unique_ptr<VaeDecoder>> MakeTorchVaeDecoder(const AutoencoderKL& autoencoder,
                                                                ExecutorDtype dtype,
                                                                torch::Device device) {
  AutoencoderKL copy(autoencoder->config());
  if (auto status = LoadWeights(*copy, StateDict(*autoencoder)); !status.ok()) return status;
  return std::make_unique<TorchVaeDecoder>(
      std::move(copy), dtype == ExecutorDtype::kBfloat16 ? torch::kBFloat16 : torch::kFloat32,
      device);
}

}  // namespace reenact
