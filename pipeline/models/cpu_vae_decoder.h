// Decodes latents to pictures on the CPU: AutoencoderKL's decoder, with the kernels of cpu_conv.h
// and cpu_attention.h. Pictures are decoded one by one, side by side on libtorch's threads, so the
// values of one do not depend on what is decoded with it.
//
// Thread-safe.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/cpu_executor.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/models/vae_decoder.h"

namespace reenact {

// Whether there are kernels for the network's widths on this processor: what MakeCpuVaeDecoder
// goes by.
bool HasNativeCpuPath(const AutoencoderKLConfig& config, ExecutorDtype dtype);

// Copies the decoder's weights.
std::unique_ptr<VaeDecoder> MakeCpuVaeDecoder(const AutoencoderKL& autoencoder,
                                              ExecutorDtype dtype);
// The same with the path chosen, for tests. kFailedPrecondition: kNative where HasNativeCpuPath is
// false.
absl::StatusOr<std::unique_ptr<VaeDecoder>> MakeCpuVaeDecoder(const AutoencoderKL& autoencoder,
                                                              ExecutorDtype dtype, CpuPath path);

}  // namespace reenact
