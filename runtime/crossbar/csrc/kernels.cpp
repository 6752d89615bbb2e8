#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "plan.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define NVMC_X86
#include <immintrin.h>
#endif

namespace nvmc {
namespace {

#ifdef NVMC_X86

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

Panel::Panel(const Plan& plan, bool counts) {
  Size rows = 0;
  for (const Tile& tile : plan.tiles) rows = tile.rows > rows ? tile.rows : rows;
  const Size size = rows * kPanel;
  codes.resize(size);
  pulse.resize(size);
  Size depth = 0;
  for (const Tile& tile : plan.tiles) {
    if (!tile.responses.empty()) depth = depth_of(tile) > depth ? depth_of(tile) : depth;
  }
  put.resize(depth * kPanel);
  bool noisy = false;
  for (const Tile& tile : plan.tiles) noisy = noisy || !tile.variance.empty();
  if (noisy) {
    square.resize(size);
    normals.resize(plan.width() * kPanel);
  }
  tile.resize(plan.cols * kPanel);
  total.resize(plan.cols * kPanel);
  if (counts) clipped.resize(plan.tiles.size() * plan.cols * kPanel);
}

}  // namespace nvmc
