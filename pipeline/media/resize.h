// Scaling of whole pictures.
#pragma once

#include "pipeline/image.h"

namespace reenact {

// `image` at width x height (each 1 or more), stretched if the shape differs: averaged over areas
// when it shrinks in both directions, bicubic otherwise. An empty image stays empty. Thread-safe.
Image ResizeImage(const Image& image, int width, int height);

}  // namespace reenact
