#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "plan.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define NVMC_X86
#include <immintrin.h>
#endif

namespace nvmc {
namespace {

#ifdef NVMC_X86

// Thresholds that all lanes are compared with before each lane looks up its own, which takes longer.
constexpr int kCounted = 32;

namespace avx512 {
#define NVMC_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define NVMC_INLINE NVMC_TARGET __attribute__((always_inline)) static inline
using Vec = __m512;
constexpr Size kLanes = 16;
constexpr Size kVecs = 2;
NVMC_INLINE Vec load(const float* from) { return _mm512_loadu_ps(from); }
NVMC_INLINE void store(float* to, Vec x) { _mm512_storeu_ps(to, x); }
NVMC_INLINE Vec broadcast(float x) { return _mm512_set1_ps(x); }
NVMC_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
NVMC_INLINE bool put_bits(const std::int32_t* from, int bit, int mask, float* to) {
  constexpr __mmask16 kAll = 0xFFFF;  // without, compilers warn of their own headers
  const __m512i whole = _mm512_loadu_si512(from);
  const __m512i bits = _mm512_maskz_srl_epi32(kAll, whole, _mm_cvtsi32_si128(bit));
  const __m512i some = _mm512_and_si512(bits, _mm512_set1_epi32(mask));
  store(to, _mm512_maskz_cvtepi32_ps(kAll, some));
  return _mm512_test_epi32_mask(some, some) != 0;
}
NVMC_INLINE void search(float* x, const float* thresholds, const float* levels, int size) {
  const Vec value = load(x);
  const int stride = size > kCounted ? size / kCounted : 1;
  __m512i at = _mm512_setzero_si512();
  for (int place = stride; place < size; place += stride) {
    const __mmask16 reached = _mm512_cmp_ps_mask(value, broadcast(thresholds[place - 1]), _CMP_GE_OQ);
    at = _mm512_mask_add_epi32(at, reached, at, _mm512_set1_epi32(stride));
  }
  for (int step = stride / 2; step > 0; step /= 2) {
    const float* from = thresholds + step - 1;
    const Vec next = _mm512_mask_i32gather_ps(value, 0xFFFF, at, from, sizeof(float));
    const __mmask16 reached = _mm512_cmp_ps_mask(value, next, _CMP_GE_OQ);
    at = _mm512_mask_add_epi32(at, reached, at, _mm512_set1_epi32(step));
  }
  const __mmask16 number = _mm512_cmp_ps_mask(value, value, _CMP_EQ_OQ);
  store(x, _mm512_mask_i32gather_ps(value, number, at, levels, sizeof(float)));
}
#include "panel.inc"
#undef NVMC_INLINE
#undef NVMC_TARGET
}  // namespace avx512

namespace avx2 {
#define NVMC_TARGET __attribute__((target("avx2,fma")))
#define NVMC_INLINE NVMC_TARGET __attribute__((always_inline)) static inline
using Vec = __m256;
constexpr Size kLanes = 8;
constexpr Size kVecs = 2;
NVMC_INLINE Vec load(const float* from) { return _mm256_loadu_ps(from); }
NVMC_INLINE void store(float* to, Vec x) { _mm256_storeu_ps(to, x); }
NVMC_INLINE Vec broadcast(float x) { return _mm256_set1_ps(x); }
NVMC_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
NVMC_INLINE bool put_bits(const std::int32_t* from, int bit, int mask, float* to) {
  const __m256i whole = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const __m256i bits = _mm256_srl_epi32(whole, _mm_cvtsi32_si128(bit));
  const __m256i some = _mm256_and_si256(bits, _mm256_set1_epi32(mask));
  store(to, _mm256_cvtepi32_ps(some));
  return _mm256_testz_si256(some, some) == 0;
}
NVMC_INLINE void search(float* x, const float* thresholds, const float* levels, int size) {
  const Vec value = load(x);
  const int stride = size > kCounted ? size / kCounted : 1;
  __m256i at = _mm256_setzero_si256();
  for (int place = stride; place < size; place += stride) {
    const Vec reached = _mm256_cmp_ps(value, broadcast(thresholds[place - 1]), _CMP_GE_OQ);
    at = _mm256_add_epi32(at, _mm256_and_si256(_mm256_castps_si256(reached), _mm256_set1_epi32(stride)));
  }
  for (int step = stride / 2; step > 0; step /= 2) {
    const Vec next = _mm256_i32gather_ps(thresholds + step - 1, at, sizeof(float));
    const __m256i reached = _mm256_castps_si256(_mm256_cmp_ps(value, next, _CMP_GE_OQ));
    at = _mm256_add_epi32(at, _mm256_and_si256(reached, _mm256_set1_epi32(step)));
  }
  const Vec number = _mm256_cmp_ps(value, value, _CMP_EQ_OQ);
  store(x, _mm256_mask_i32gather_ps(value, levels, at, number, sizeof(float)));
}
#include "panel.inc"
#undef NVMC_INLINE
#undef NVMC_TARGET
}  // namespace avx2

#endif

namespace portable {
#define NVMC_TARGET
struct Vec {
  float at[4];
};
constexpr Size kLanes = 4;
constexpr Size kVecs = 2;
inline Vec load(const float* from) {
  Vec x;
  std::memcpy(x.at, from, sizeof x.at);
  return x;
}
inline void store(float* to, const Vec& x) { std::memcpy(to, x.at, sizeof x.at); }
inline Vec broadcast(float x) { return {{x, x, x, x}}; }
inline Vec fma(const Vec& a, const Vec& b, const Vec& c) {
  Vec sum;
  for (Size i = 0; i < kLanes; ++i) sum.at[i] = std::fma(a.at[i], b.at[i], c.at[i]);
  return sum;
}
inline bool put_bits(const std::int32_t* from, int bit, int mask, float* to) {
  bool some = false;
  for (Size i = 0; i < kLanes; ++i) {
    const std::int32_t bits = from[i] >> bit & mask;
    to[i] = static_cast<float>(bits);
    some |= bits != 0;
  }
  return some;
}
inline void search(float* x, const float* thresholds, const float* levels, int size) {
  for (Size i = 0; i < kLanes; ++i) {
    int at = 0;
    for (int step = size / 2; step > 0; step /= 2) {
      at += x[i] >= thresholds[at + step - 1] ? step : 0;
    }
    x[i] = x[i] == x[i] ? levels[at] : x[i];
  }
}
#include "panel.inc"
#undef NVMC_TARGET
}  // namespace portable

std::vector<Kernel> found() {
  std::vector<Kernel> kernels;
#ifdef NVMC_X86
  __builtin_cpu_init();
  const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (fma && wide) kernels.push_back({"avx512", 8, avx512::reach, avx512::encode, avx512::run});
  if (fma) kernels.push_back({"avx2", 6, avx2::reach, avx2::encode, avx2::run});
#endif
  kernels.push_back({"portable", 4, portable::reach, portable::encode, portable::run});
  return kernels;
}

}  // namespace

const std::vector<Kernel>& kernels() {
  static const std::vector<Kernel> list = found();
  return list;
}

Panel::Panel(const Plan& plan, bool counts, const std::array<bool, kFresh>& drawn_of) {
  Size rows = 0;
  for (const Tile& tile : plan.tiles) rows = tile.rows > rows ? tile.rows : rows;
  const Size size = rows * kPanel;
  codes.resize(size);
  pulse.resize(size);
  bool bends = false;
  bool responds = false;
  for (const Tile& tile : plan.tiles) {
    depth = std::max(depth, depth_of(tile));
    bends = bends || !tile.bow.empty();
    responds = responds || !tile.responses.empty();
  }
  if (plan.bits != 0) slice.resize(size);
  if (plan.bits != 0) whole.resize(size);
  if (bends) bent.resize(size);
  if (responds) put.resize(depth * kPanel);
  if (plan.bits != 0) driven.resize(kMostParts * depth);
  every.resize(depth);
  std::iota(every.begin(), every.end(), 0u);
  if (drawn_of[kCells]) square.resize(size);
  for (Size kind = 0; kind < kFresh; ++kind) {
    if (drawn_of[kind]) drawn[kind].resize(plan.width() * kPanel);
  }
  if (plan.accumulates) held.resize(plan.width() * kPanel);
  tile.resize(plan.cols * kPanel);
  total.resize(plan.cols * kPanel);
  if (counts) beyond.resize(plan.tiles.size());
  for (Beyond& tile_beyond : beyond) tile_beyond.counted.resize(plan.cols * kPanel);
}

}  // namespace nvmc
