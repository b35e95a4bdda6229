// How the CPU kernels lay numbers out for packing, on any processor. A "word" is 32 bits of the
// reduced dimension of a matrix product: one float32 or two bfloat16.
#pragma once

#include <cstdint>
#include <type_traits>

#include "pipeline/models/cpu_kernels.h"

namespace reenact {

// Elements of a word.
template <typename E>
inline constexpr int64_t kPerWord = 4 / static_cast<int64_t>(sizeof(E));

// `count` elements, filled up to a whole number of words.
template <typename E>
constexpr int64_t WholeWords(int64_t count) {
  return (count + kPerWord<E> - 1) / kPerWord<E> * kPerWord<E>;
}

// `x` as an element, rounded to the nearest.
template <typename E>
E ToElement(float x) {
  if constexpr (std::is_same_v<E, float>) {
    return x;
  } else {
    return ToBfloat16(x);
  }
}

}  // namespace reenact
