// What the AVX-512 kernels (cpu_kernels.cc, cpu_attention.cc) share: element types, vectors of 16
// float32, exponentials. Only for those files: everything here is compiled for AVX-512, whatever
// the rest of the program is compiled for, and may run only where HasAvx512() of cpu_kernels.h says
// so.
//
// A product of matrices is a sum over words (cpu_words.h), so float32 and bfloat16 are one
// algorithm.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns of the "undefined" registers in its own intrinsics (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "pipeline/models/cpu_kernels.h"
#include "pipeline/models/cpu_words.h"

// Of functions: for AVX-512. bfloat16 instructions occur only where the element type is Bfloat16.
#define REENACT_AVX512 \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define REENACT_AVX512_INLINE REENACT_AVX512 __attribute__((always_inline)) inline
// Of loops over vectors that must live in registers.
#if defined(__clang__)
#define REENACT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define REENACT_UNROLL _Pragma("GCC unroll 32")
#endif

namespace reenact::simd {

inline constexpr int64_t kLanes = 16;  // float32 of a vector

// The first `count` lanes, 0 to 16.
REENACT_AVX512_INLINE __mmask16 FirstLanes(int64_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xffff : (1u << count) - 1);
}

// One word in every lane.
template <typename E>
REENACT_AVX512_INLINE __m512i BroadcastWord(const E* word) {
  int32_t bits;
  std::memcpy(&bits, word, sizeof(bits));
  return _mm512_set1_epi32(bits);
}

// sum + a b, lane by lane, a and b words.
template <typename E>
REENACT_AVX512_INLINE __m512 MultiplyAdd(__m512 sum, __m512i a, __m512i b) {
  if constexpr (std::is_same_v<E, float>) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  } else {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
}

template <typename E>
REENACT_AVX512_INLINE void Store(E* to, __mmask16 mask, __m512 x) {
  if constexpr (std::is_same_v<E, float>) {
    _mm512_mask_storeu_ps(to, mask, x);
  } else {
    _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(x));
  }
}

// 2^x to 1e-7 (float) or 8e-5 (Bfloat16, whose own rounding is 2e-3), by the minimax polynomial of
// the fraction. 0 for -inf.
template <typename E>
REENACT_AVX512_INLINE __m512 Exp2(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // [0, 1)
  __m512 p;
  if constexpr (std::is_same_v<E, float>) {
    p = _mm512_set1_ps(1.877576199e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(8.989341308e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.582631703e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.2401536174f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931530731f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.9999999251f));
  } else {
    p = _mm512_set1_ps(7.802452266e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.2260671554f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6958335405f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.9999252186f));
  }
  return _mm512_scalef_ps(p, x);  // p 2^floor(x)
}

// a / b for b >= 1, to a bit (float) or 6e-5 (Bfloat16). 0 for an infinite b.
template <typename E>
REENACT_AVX512_INLINE __m512 Divide(__m512 a, __m512 b) {
  if constexpr (std::is_same_v<E, float>) {
    return _mm512_div_ps(a, b);
  } else {
    return _mm512_mul_ps(a, _mm512_rcp14_ps(b));
  }
}

REENACT_AVX512_INLINE __m512 Load(const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}
REENACT_AVX512_INLINE __m512 Load(const Bfloat16* from, __mmask16 mask) {
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

// x / (1 + exp(-x)).
template <typename E>
REENACT_AVX512_INLINE __m512 Silu(__m512 x) {
  const __m512 e = Exp2<E>(_mm512_mul_ps(x, _mm512_set1_ps(-1.4426950408889634f)));
  return Divide<E>(x, _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
}

}  // namespace reenact::simd
