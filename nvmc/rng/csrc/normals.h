// Standard normals of a Philox stream, with the bits of NumPy's Generator.standard_normal(float32).
//
// Philox-4x64-10: Salmon et al., SC 2011. The ziggurat of 256 layers: Marsaglia and Tsang, Journal
// of Statistical Software 5(8), 2000, on 32 random bits a try: 8 for the layer, 1 for the sign, 23
// for the place in it. The order in which words are used is NumPy's, so that a stream may change
// hands between the two at any point. NumPy makes one word a call; here they are made by the block.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nvmc {

using Block = std::array<std::uint64_t, 4>;
using Key = std::array<std::uint64_t, 2>;
__extension__ using Wide = unsigned __int128;

constexpr int kRounds = 10;
constexpr std::size_t kBlocksAtOnce = 256;
constexpr double kTail = 3.6541528853610087963519472518;  // where the last layer ends
constexpr double kPlaces = 8388608;                       // 2^23

// The keys of all rounds.
struct Schedule {
  std::array<Key, kRounds> keys;

  explicit Schedule(Key key) {
    for (Key& round : keys) {
      round = key;
      key[0] += 0x9E3779B97F4A7C15u;
      key[1] += 0xBB67AE8584CAA73Bu;
    }
  }
};

inline Block encrypted(Block block, const Schedule& schedule) {
  for (const Key& key : schedule.keys) {
    const auto left = static_cast<Wide>(0xD2E7470EE14C6C93u) * block[0];
    const auto right = static_cast<Wide>(0xCA5A826395121157u) * block[2];
    block = {static_cast<std::uint64_t>(right >> 64) ^ block[1] ^ key[0],
             static_cast<std::uint64_t>(right),
             static_cast<std::uint64_t>(left >> 64) ^ block[3] ^ key[1],
             static_cast<std::uint64_t>(left)};
  }
  return block;
}

inline void advance(Block& counter) {
  for (std::uint64_t& word : counter) {
    if (++word != 0) return;
  }
}

// The words of 32 bits of a stream, the lower half of each 64 first.
class Words {
 public:
  // `expected` words at least will be used; 0 where nobody knows.
  Words(const Block& counter, const Key& key, std::size_t expected = 0)
      : counter_(counter), key_(key), left_(expected) {}

  // Words that the stream's owner had made, but not used.
  void push(std::uint32_t word) { ready_.push_back(word); }
  void push(std::uint64_t word) {
    push(static_cast<std::uint32_t>(word));
    push(static_cast<std::uint32_t>(word >> 32));
  }

  std::uint32_t next() {
    expect(1);
    return ready_[used_++];
  }

  // Has a word at hand. Makes about as many as will be needed: many, since blocks are quicker made
  // together, but few in vain.
  void expect(std::size_t count) {
    if (used_ == ready_.size()) refill(std::min(std::max(count, left_) / 8 + 1, kBlocksAtOnce));
  }

  // Uniform in [0, 1), of 24 bits.
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }

  const std::uint32_t* begin() const { return ready_.data() + used_; }
  std::size_t ready() const { return ready_.size() - used_; }
  void skip(std::size_t count) { used_ += count; }
  const Block& counter() const { return counter_; }

 private:
  void refill(std::size_t blocks) {
    const Schedule schedule(key_);
    left_ -= std::min(left_, 8 * blocks);
    ready_.resize(8 * blocks);
    for (std::size_t i = 0; i < blocks; ++i) {
      advance(counter_);
      const Block made = encrypted(counter_, schedule);
      for (std::size_t word = 0; word < 4; ++word) {
        ready_[8 * i + 2 * word] = static_cast<std::uint32_t>(made[word]);
        ready_[8 * i + 2 * word + 1] = static_cast<std::uint32_t>(made[word] >> 32);
      }
    }
    used_ = 0;
  }

  Block counter_;
  Key key_;
  std::size_t left_;
  std::vector<std::uint32_t> ready_;
  std::size_t used_ = 0;
};

inline double density(double x) { return std::exp(-0.5 * x * x); }

struct Layers {
  std::array<float, 512> step;            // a place's width: layers with sign +, then with sign -
  std::array<std::uint32_t, 256> inside;  // places surely below the curve
  std::array<float, 256> height;

  Layers() {
    const double rest = std::sqrt(std::acos(-1.0) / 2) * std::erfc(kTail / std::sqrt(2.0));
    const double area = kTail * density(kTail) + rest;
    std::array<double, 256> edge{};
    edge[255] = kTail;
    for (std::size_t i = 254; i > 0; --i) {
      edge[i] = std::sqrt(-2 * std::log(area / edge[i + 1] + density(edge[i + 1])));
    }
    const double base = area / density(kTail);  // the width of the layer that holds the tail
    for (std::size_t i = 0; i < 256; ++i) {
      const double width = i == 0 ? base : edge[i];
      const double within = i == 0 ? kTail : edge[i - 1];
      step[i] = static_cast<float>(width / kPlaces);
      step[256 + i] = -step[i];
      inside[i] = static_cast<std::uint32_t>(std::lround(within / width * kPlaces));
      height[i] = static_cast<float>(i == 0 ? 1.0 : density(edge[i]));
    }
  }
};

inline const Layers kLayers;

inline float beyond_the_tail(Words& words, bool negative) {
  constexpr auto kInverse = static_cast<float>(1 / kTail);
  constexpr auto kStart = static_cast<float>(kTail);
  while (true) {
    const float x = -kInverse * std::log1p(-words.uniform());
    const float y = -std::log1p(-words.uniform());
    if (y + y > x * x) return negative ? -(kStart + x) : kStart + x;
  }
}

// One normal whose first word is at hand, off the fast path.
inline float one(Words& words) {
  while (true) {
    const std::uint32_t word = words.next();
    const std::size_t layer = word & 0xff;
    const std::uint32_t place = word >> 9;
    const float x = static_cast<float>(place) * kLayers.step[word & 0x1ff];
    if (place < kLayers.inside[layer]) return x;
    if (layer == 0) return beyond_the_tail(words, ((place >> 8) & 1) != 0);
    const float low = kLayers.height[layer];
    const float y = (kLayers.height[layer - 1] - low) * words.uniform() + low;
    if (y < density(x)) return x;
  }
}

// The next `count` normals, into out[0], out[stride], ...
inline void fill(Words& words, float* out, std::size_t count, std::size_t stride = 1) {
  std::size_t done = 0;
  while (done < count) {
    words.expect(count - done);
    const std::uint32_t* from = words.begin();
    const std::size_t most = std::min(words.ready(), count - done);
    std::size_t taken = 0;
    for (; taken < most; ++taken) {
      const std::uint32_t word = from[taken];
      const std::uint32_t place = word >> 9;
      if (place >= kLayers.inside[word & 0xff]) break;
      out[(done + taken) * stride] = static_cast<float>(place) * kLayers.step[word & 0x1ff];
    }
    words.skip(taken);
    done += taken;
    if (taken < most) out[done++ * stride] = one(words);
  }
}

}  // namespace nvmc
