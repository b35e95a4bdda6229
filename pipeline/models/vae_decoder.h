// Decodes latents to pictures: AutoencoderKL's decoder, on the CPU (cpu_vae_decoder.h) or by
// libtorch operators on any device.
//
// Thread-safe; also beside a RowExecutor on the same device.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/row_executor.h"
#include "torch/torch.h"

namespace reenact {

class VaeDecoder {
 public:
  virtual ~VaeDecoder() = default;

  // As AutoencoderKLImpl::decode: z [N, C, h, w] float32, unscaled -> [N, in_channels, H, W]
  // float32, not clamped; channels may be last in memory. Both in host memory. Throws c10::Error:
  // ErrorStatus of device.h.
  virtual torch::Tensor Decode(const torch::Tensor& z) = 0;

  // The same as 8-bit pictures [N, H, W, in_channels]: PicturesToBytes.
  virtual torch::Tensor DecodeToBytes(const torch::Tensor& z);
};

// [N, channels, H, W] in [-1, 1] -> [N, H, W, channels] uint8, rounded and clamped, contiguous.
torch::Tensor PicturesToBytes(const torch::Tensor& pictures);

// Copies the decoder's weights to the device. On a GPU pictures are decoded in a lane of their own,
// beside the denoising, and turned to bytes before they come back. Its convolutions run with
// channels last.
absl::StatusOr<std::unique_ptr<VaeDecoder>> MakeTorchVaeDecoder(const AutoencoderKL& autoencoder,
                                                                ExecutorDtype dtype,
                                                                torch::Device device);

}  // namespace reenact
