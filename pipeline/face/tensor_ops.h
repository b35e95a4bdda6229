// The less frequent operators of a network: any rank, straightforward loops. kernels.h has the ones
// that take the time.
//
// Shapes are checked by the caller. Pure functions.
#pragma once

#include <vector>

#include "pipeline/face/kernels.h"

namespace reenact {

using Shape = std::vector<int>;

size_t NumElements(const Shape& shape);
// Numbers between neighbours along each dimension, row-major.
std::vector<size_t> Strides(const Shape& shape);

enum class Unary { kRelu, kRelu6, kLogistic, kNeg, kSqrt, kRsqrt };
void ApplyUnary(Unary op, const float* in, size_t elements, float* out);

enum class Binary { kAdd, kSub, kMul, kDiv, kSquaredDifference, kPrelu };
// The common shape of `a` and `b` if they broadcast, else an empty optional via `ok`.
bool BroadcastShape(const Shape& a, const Shape& b, Shape& result);
// `a` op `b` with the fused activation. kPrelu: a > 0 ? a : a * b.
void ApplyBinary(Binary op, const float* a, const Shape& a_shape, const float* b,
                 const Shape& b_shape, Activation activation, const Shape& out_shape, float* out);

// Sum, or mean, over the dimensions where `reduced` is true.
void Reduce(const float* in, const Shape& shape, const std::vector<bool>& reduced, bool mean,
            float* out);

// out[i0, i1, ..] = in[.. i_{permutation}..]: dimension d of the output is dimension permutation[d]
// of the input.
void Transpose(const float* in, const Shape& shape, const std::vector<int>& permutation,
               float* out);

// Element (i0, i1, ..) of the output is element (begin + i * step) of the input. `counts` are the
// output's dimensions before any is dropped.
void StridedSlice(const float* in, const Shape& shape, const std::vector<int>& begin,
                  const std::vector<int>& step, const Shape& counts, float* out);

// Zeros around. `before` per dimension.
void Pad(const float* in, const Shape& shape, const std::vector<int>& before,
         const Shape& out_shape, float* out);

// Mean over the taps inside the picture.
void AveragePool(const MaxPool& op, const float* in, Activation activation, float* out);

void ResizeBilinear(const float* in, int height, int width, int channels, int out_height,
                    int out_width, bool align_corners, bool half_pixel_centers, float* out);

float ApplyActivation(float x, Activation activation);

}  // namespace reenact
