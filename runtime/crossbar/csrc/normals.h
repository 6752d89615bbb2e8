// The numbers of `nvmc.rng.CountedDraw.normal`: NumPy's Philox and its ziggurat, bit for bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nvmc {

// Standard normals from one Philox-4x64-10 stream (Salmon et al., SC 2011), in order.
class Normals {
 public:
  using Key = std::array<std::uint64_t, 2>;
  using Counter = std::array<std::uint64_t, 4>;

  Normals() = default;
  Normals(const Key& key, const Counter& counter) : key_(key), counter_(counter) {}

  // Writes the next `count` normals to out[0], out[stride], ...
  void fill(float* out, std::size_t count, std::size_t stride);

 private:
  static constexpr std::size_t kBlocks = 2;           // made together, so that they overlap
  static constexpr std::size_t kWords = 8 * kBlocks;  // of 32 bits

  std::uint32_t next();
  float unusual(std::uint32_t word, float x, bool& settled);
  float uniform();
  void refill();

  Key key_{};
  Counter counter_{};
  std::array<std::uint32_t, kWords> words_{};
  std::size_t used_ = kWords;
};

}  // namespace nvmc
