#include "pipeline/face/kernels.h"

#define REENACT_KERNELS kernels_avx2
#define REENACT_KERNEL_WIDTH 8
#define REENACT_KERNEL_NAME "avx2"
#include "pipeline/face/kernels.inc"
