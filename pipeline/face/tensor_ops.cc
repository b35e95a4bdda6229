#include "pipeline/face/tensor_ops.h"

#include <algorithm>
#include <cmath>

namespace reenact {
namespace {

// Walks all indices of `shape` but the last dimension, keeping one offset into each of several
// arrays of given strides (0: that array is repeated along the dimension).
class Odometer {
 public:
  Odometer(const Shape& shape, std::vector<std::vector<size_t>> strides)
      : shape_(shape),
        strides_(std::move(strides)),
        index_(shape.size(), 0),
        offsets_(strides_.size()) {}

  size_t offset(size_t array) const { return offsets_[array]; }

  // Whether there is another row.
  bool Next() {
    for (size_t d = shape_.size() - 1; d-- > 0;) {
      ++index_[d];
      for (size_t k = 0; k < strides_.size(); ++k) offsets_[k] += strides_[k][d];
      if (index_[d] < shape_[d]) return true;
      for (size_t k = 0; k < strides_.size(); ++k) {
        offsets_[k] -= strides_[k][d] * static_cast<size_t>(shape_[d]);
      }
      index_[d] = 0;
    }
    return false;
  }

 private:
  const Shape& shape_;
  const std::vector<std::vector<size_t>> strides_;
  std::vector<int> index_;
  std::vector<size_t> offsets_;
};

// Shape with at least one dimension, so that every array has rows.
Shape AtLeastOne(const Shape& shape) { return shape.empty() ? Shape{1} : shape; }

// Strides of `shape` as seen from the broadcast result `out`: 0 along repeated dimensions.
std::vector<size_t> BroadcastStrides(const Shape& shape, const Shape& out) {
  const std::vector<size_t> own = Strides(shape);
  std::vector<size_t> strides(out.size(), 0);
  const size_t shift = out.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d) {
    strides[d + shift] = shape[d] == 1 ? 0 : own[d];
  }
  return strides;
}

template <typename Op>
void BinaryRows(Op op, const float* a, const Shape& a_shape, const float* b, const Shape& b_shape,
                Activation activation, const Shape& out_shape, float* out) {
  const Shape shape = AtLeastOne(out_shape);
  const std::vector<size_t> a_strides = BroadcastStrides(a_shape, shape);
  const std::vector<size_t> b_strides = BroadcastStrides(b_shape, shape);
  const size_t a_step = a_strides.back();
  const size_t b_step = b_strides.back();
  const auto columns = static_cast<size_t>(shape.back());
  Odometer rows(shape, {a_strides, b_strides});
  do {
    const float* pa = a + rows.offset(0);
    const float* pb = b + rows.offset(1);
    if (activation == Activation::kNone) {
      for (size_t i = 0; i < columns; ++i) out[i] = op(pa[i * a_step], pb[i * b_step]);
    } else {
      for (size_t i = 0; i < columns; ++i) {
        out[i] = ApplyActivation(op(pa[i * a_step], pb[i * b_step]), activation);
      }
    }
    out += columns;
  } while (rows.Next());
}

}  // namespace

size_t NumElements(const Shape& shape) {
  size_t count = 1;
  for (const int dimension : shape) count *= static_cast<size_t>(dimension);
  return count;
}

std::vector<size_t> Strides(const Shape& shape) {
  std::vector<size_t> strides(shape.size());
  size_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= static_cast<size_t>(shape[d]);
  }
  return strides;
}

float ApplyActivation(float x, Activation activation) {
  if (activation == Activation::kRelu) return x > 0 ? x : 0;
  if (activation == Activation::kRelu6) return std::min(x > 0 ? x : 0, 6.0f);
  return x;
}

void ApplyUnary(Unary op, const float* in, size_t elements, float* out) {
  switch (op) {
    case Unary::kRelu:
      for (size_t i = 0; i < elements; ++i) out[i] = in[i] > 0 ? in[i] : 0;
      return;
    case Unary::kRelu6:
      for (size_t i = 0; i < elements; ++i) out[i] = std::min(in[i] > 0 ? in[i] : 0, 6.0f);
      return;
    case Unary::kLogistic:
      for (size_t i = 0; i < elements; ++i) out[i] = 1 / (1 + std::exp(-in[i]));
      return;
    case Unary::kNeg:
      for (size_t i = 0; i < elements; ++i) out[i] = -in[i];
      return;
    case Unary::kSqrt:
      for (size_t i = 0; i < elements; ++i) out[i] = std::sqrt(in[i]);
      return;
    case Unary::kRsqrt:
      for (size_t i = 0; i < elements; ++i) out[i] = 1 / std::sqrt(in[i]);
      return;
  }
}

bool BroadcastShape(const Shape& a, const Shape& b, Shape& result) {
  result.assign(std::max(a.size(), b.size()), 1);
  for (size_t d = 0; d < result.size(); ++d) {
    const size_t back = result.size() - d;
    const int x = back > a.size() ? 1 : a[a.size() - back];
    const int y = back > b.size() ? 1 : b[b.size() - back];
    if (x != y && x != 1 && y != 1) return false;
    result[d] = std::max(x, y);
  }
  return true;
}

void ApplyBinary(Binary op, const float* a, const Shape& a_shape, const float* b,
                 const Shape& b_shape, Activation activation, const Shape& out_shape, float* out) {
  const auto run = [&](auto function) {
    BinaryRows(function, a, a_shape, b, b_shape, activation, out_shape, out);
  };
  switch (op) {
    case Binary::kAdd:
      return run([](float x, float y) { return x + y; });
    case Binary::kSub:
      return run([](float x, float y) { return x - y; });
    case Binary::kMul:
      return run([](float x, float y) { return x * y; });
    case Binary::kDiv:
      return run([](float x, float y) { return x / y; });
    case Binary::kSquaredDifference:
      return run([](float x, float y) { return (x - y) * (x - y); });
    case Binary::kPrelu:
      return run([](float x, float y) { return x > 0 ? x : x * y; });
  }
}

void Reduce(const float* in, const Shape& shape, const std::vector<bool>& reduced, bool mean,
            float* out) {
  const Shape full = AtLeastOne(shape);
  Shape kept = full;
  size_t group = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (!reduced[d]) continue;
    group *= static_cast<size_t>(shape[d]);
    kept[d] = 1;
  }
  const size_t results = NumElements(kept);
  std::fill(out, out + results, 0.0f);
  const std::vector<size_t> strides = BroadcastStrides(kept, full);
  const auto columns = static_cast<size_t>(full.back());
  Odometer rows(full, {strides});
  do {
    float* row = out + rows.offset(0);
    if (strides.back() == 0) {
      float sum = 0;
      for (size_t i = 0; i < columns; ++i) sum += in[i];
      *row += sum;
    } else {
      for (size_t i = 0; i < columns; ++i) row[i] += in[i];
    }
    in += columns;
  } while (rows.Next());
  if (mean) {
    for (size_t i = 0; i < results; ++i) out[i] /= static_cast<float>(group);
  }
}

void Transpose(const float* in, const Shape& shape, const std::vector<int>& permutation,
               float* out) {
  const std::vector<size_t> strides = Strides(shape);
  Shape out_shape(shape.size());
  std::vector<size_t> permuted(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) {
    out_shape[d] = shape[permutation[d]];
    permuted[d] = strides[permutation[d]];
  }
  const auto columns = static_cast<size_t>(out_shape.back());
  const size_t step = permuted.back();
  Odometer rows(out_shape, {permuted});
  do {
    const float* row = in + rows.offset(0);
    for (size_t i = 0; i < columns; ++i) *out++ = row[i * step];
  } while (rows.Next());
}

void StridedSlice(const float* in, const Shape& shape, const std::vector<int>& begin,
                  const std::vector<int>& step, const Shape& counts, float* out) {
  const std::vector<size_t> strides = Strides(shape);
  std::vector<size_t> steps(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) {
    in += static_cast<size_t>(begin[d]) * strides[d];
    // A negative step wraps around in size_t, and so does the sum: the result is right.
    steps[d] = strides[d] * static_cast<size_t>(static_cast<ptrdiff_t>(step[d]));
  }
  const auto columns = static_cast<size_t>(counts.back());
  Odometer rows(counts, {steps});
  do {
    const size_t row = rows.offset(0);
    for (size_t i = 0; i < columns; ++i) {
      *out++ = in[static_cast<ptrdiff_t>(row + i * steps.back())];
    }
  } while (rows.Next());
}

void Pad(const float* in, const Shape& shape, const std::vector<int>& before,
         const Shape& out_shape, float* out) {
  std::fill(out, out + NumElements(out_shape), 0.0f);
  const std::vector<size_t> out_strides = Strides(out_shape);
  for (size_t d = 0; d < shape.size(); ++d) {
    out += static_cast<size_t>(before[d]) * out_strides[d];
  }
  const auto columns = static_cast<size_t>(shape.back());
  Odometer rows(shape, {out_strides});
  do {
    std::copy(in, in + columns, out + rows.offset(0));
    in += columns;
  } while (rows.Next());
}

void AveragePool(const MaxPool& op, const float* in, Activation activation, float* out) {
  const Window& w = op.window;
  const auto channels = static_cast<size_t>(op.channels);
  for (int y = 0; y < op.out_height; ++y) {
    for (int x = 0; x < op.out_width; ++x, out += channels) {
      const int top = y * w.stride_y - w.pad_top;
      const int left = x * w.stride_x - w.pad_left;
      const int y0 = std::max(top, 0), y1 = std::min(top + w.filter_height, op.height);
      const int x0 = std::max(left, 0), x1 = std::min(left + w.filter_width, op.width);
      std::fill(out, out + channels, 0.0f);
      for (int i = y0; i < y1; ++i) {
        for (int j = x0; j < x1; ++j) {
          const float* p = in + (static_cast<size_t>(i) * op.width + j) * channels;
          for (size_t c = 0; c < channels; ++c) out[c] += p[c];
        }
      }
      const auto taps = static_cast<float>((y1 - y0) * (x1 - x0));
      for (size_t c = 0; c < channels; ++c) out[c] = ApplyActivation(out[c] / taps, activation);
    }
  }
}

void ResizeBilinear(const float* in, int height, int width, int channels, int out_height,
                    int out_width, bool align_corners, bool half_pixel_centers, float* out) {
  const auto scale = [align_corners](int size, int out_size) {
    return align_corners && out_size > 1
               ? static_cast<float>(size - 1) / static_cast<float>(out_size - 1)
               : static_cast<float>(size) / static_cast<float>(out_size);
  };
  struct Position {
    int low, high;
    float fraction;
  };
  const auto position = [half_pixel_centers](int i, float ratio, int size) {
    float at = half_pixel_centers ? (static_cast<float>(i) + 0.5f) * ratio - 0.5f
                                  : static_cast<float>(i) * ratio;
    at = std::clamp(at, 0.0f, static_cast<float>(size - 1));
    const int low = static_cast<int>(at);
    return Position{low, std::min(low + 1, size - 1), at - static_cast<float>(low)};
  };
  const float scale_y = scale(height, out_height);
  const float scale_x = scale(width, out_width);
  for (int y = 0; y < out_height; ++y) {
    const Position v = position(y, scale_y, height);
    for (int x = 0; x < out_width; ++x) {
      const Position h = position(x, scale_x, width);
      const auto pixel = [&](int row, int column) {
        return in + (static_cast<size_t>(row) * width + column) * channels;
      };
      const float* top_left = pixel(v.low, h.low);
      const float* top_right = pixel(v.low, h.high);
      const float* bottom_left = pixel(v.high, h.low);
      const float* bottom_right = pixel(v.high, h.high);
      for (int c = 0; c < channels; ++c) {
        const float top = top_left[c] + (top_right[c] - top_left[c]) * h.fraction;
        const float bottom = bottom_left[c] + (bottom_right[c] - bottom_left[c]) * h.fraction;
        *out++ = top + (bottom - top) * v.fraction;
      }
    }
  }
}

}  // namespace reenact
