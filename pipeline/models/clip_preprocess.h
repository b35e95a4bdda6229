// From a picture to CLIP's input, equal to Pillow's and transformers' to the bit up to the last
// division. Pure functions, thread-safe.
#pragma once

#include <cstdint>

#include "pipeline/image.h"
#include "torch/torch.h"

namespace reenact {

// Short side to `size` with Pillow's 8-bit bicubic filter, then the central square (offset rounded
// down): uint8 [3, size, size]. Only what the square needs is computed, so a picture of extreme
// shape costs no more than its pixels. `image` must not be empty.
torch::Tensor ClipResize(const Image& image, int64_t size);

// The same, scaled to [0, 1] and standardised per channel: float32 [3, size, size].
torch::Tensor ClipPreprocess(const Image& image, int64_t size);

}  // namespace reenact
