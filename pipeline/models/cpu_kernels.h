// Kernels of the fast CPU executor, on plain pointers, for AVX-512: matrix products whose last step
// is fused, and layer norm with modulation. Every value is computed by the same operations in the
// same order however the rows are divided among calls, so results are bit-equal for any number of
// threads and any company.
//
// E is float or Bfloat16; sums are float32. Matrices are row-major; "stride" is elements between
// rows. Pure functions, thread-safe; only where HasAvx512<E>().
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reenact {

struct Bfloat16 {
  uint16_t bits;
};

// Whether this processor has the instructions that kernels of E need: AVX-512 F, BW, DQ and VL, for
// Bfloat16 also BF16.
template <typename E>
bool HasAvx512();

// Memory for vectors, aligned to cache lines, not initialised. Movable.
template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t size) { Reserve(size); }
  // At least `size` elements; contents are lost if it grows.
  void Reserve(int64_t size) {
    if (size <= size_) return;
    storage_.resize(static_cast<size_t>(size) * sizeof(T) + kAlignment);
    size_ = size;
  }
  T* data() { return Align(storage_.data()); }
  const T* data() const { return Align(const_cast<char*>(storage_.data())); }

 private:
  static constexpr uintptr_t kAlignment = 64;
  static T* Align(char* p) {
    return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(p) + kAlignment - 1) &
                                ~(kAlignment - 1));
  }
  std::vector<char> storage_;
  int64_t size_ = 0;
};

// Nearest, ties to even; NaN stays NaN.
Bfloat16 ToBfloat16(float x);
float ToFloat(Bfloat16 x);

// The weights [out, in] of a linear layer, packed for Linear() below.
template <typename E>
struct PackedLinear {
  int64_t in = 0, out = 0;
  AlignedBuffer<E> weight;  // panels of kPanel outputs: [panel][word of in][output]
  std::vector<float> bias;  // [panels * kPanel]

  static constexpr int64_t kPanel = 64;
};
// `in` must be even for Bfloat16.
template <typename E>
PackedLinear<E> PackLinear(const float* weight, const float* bias, int64_t out, int64_t in);

// A vector for each row of a matrix, the same for `rows_each` rows in turn.
struct RowVectors {
  const float* data = nullptr;
  int64_t stride = 0;  // between vectors
  int64_t rows_each = 1;
  int64_t first_row = 0;  // the matrix begins at this row

  const float* at(int64_t row) const { return data + (first_row + row) / rows_each * stride; }
};

// What becomes of y = W x + b.
template <typename E>
struct LinearOutput {
  enum class Kind {
    kStore,     // to = y
    kTanhGelu,  // to = gelu(y), the tanh form
    kFloat,     // to_float = y
    kGatedAdd,  // to_float += gates y
  };
  Kind kind = Kind::kStore;
  E* to = nullptr;
  float* to_float = nullptr;
  int64_t stride = 0;     // of `to` or `to_float`
  RowVectors gates = {};  // for kGatedAdd
};
// For the rows of x [num_rows, in].
template <typename E>
void Linear(const PackedLinear<E>& layer, const E* x, int64_t stride, int64_t num_rows,
            const LinearOutput<E>& output);

// out = norm(x) (1 + scale) + shift for x [num_rows, size], the norm without parameters, eps 1e-6.
// `scale` has the data of scales and the layout of `shift`.
template <typename E>
void NormModulate(const float* x, int64_t size, int64_t num_rows, const RowVectors& shift,
                  const float* scale, E* out);

}  // namespace reenact
