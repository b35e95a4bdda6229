#include "pipeline/face/kernels.h"

#define REENACT_KERNELS kernels_avx512
#define REENACT_KERNEL_WIDTH 16
#define REENACT_KERNEL_NAME "avx512"
#include "pipeline/face/kernels.inc"
