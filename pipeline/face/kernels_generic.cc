#include "pipeline/face/kernels.h"

#define REENACT_KERNELS kernels_generic
#define REENACT_KERNEL_WIDTH 4
#define REENACT_KERNEL_NAME "generic"
#include "pipeline/face/kernels.inc"
