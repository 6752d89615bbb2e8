#include "normals.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nvmc {
namespace {

constexpr double kEdge = 3.6541528853610088;  // where the tail begins, for 256 layers
constexpr double kSteps = 8388608.0;          // 2^23, what a word says of a layer's width
constexpr double kHalfPi = 1.5707963267948966;

// The 256 layers of equal area under exp(-x^2 / 2) (Marsaglia and Tsang, J. Stat. Softw. 5(8)).
struct Layers {
  std::array<std::uint32_t, 256> inside;  // below this a word lies under the curve for sure
  std::array<float, 256> width;           // of a step
  std::array<float, 256> height;          // of the curve at the layer's edge

  Layers() {
    const auto curve = [](double x) { return std::exp(-0.5 * x * x); };
    const double area =
        kEdge * curve(kEdge) + std::sqrt(kHalfPi) * std::erfc(kEdge / std::sqrt(2.0));
    const double base = area / curve(kEdge);
    const auto whole = [](double x) { return static_cast<std::uint32_t>(std::nearbyint(x)); };
    inside[0] = whole(kEdge / base * kSteps);
    inside[1] = 0;
    width[0] = static_cast<float>(base / kSteps);
    width[255] = static_cast<float>(kEdge / kSteps);
    height[0] = 1.0f;
    height[255] = static_cast<float>(curve(kEdge));
    double above = kEdge;
    for (std::size_t layer = 254; layer > 0; --layer) {
      const double edge = std::sqrt(-2.0 * std::log(area / above + curve(above)));
      inside[layer + 1] = whole(edge / above * kSteps);
      height[layer] = static_cast<float>(curve(edge));
      width[layer] = static_cast<float>(edge / kSteps);
      above = edge;
    }
  }
};

const Layers kLayers;

constexpr std::uint32_t layer_of(std::uint32_t word) { return word & 0xff; }
constexpr std::uint32_t steps_of(std::uint32_t word) { return word >> 9; }

// Bit 8 is the sign, put in without a branch: it would be mispredicted half of the time.
float place_of(std::uint32_t word) {
  const auto steps = static_cast<float>(static_cast<std::int32_t>(steps_of(word)));
  const float x = steps * kLayers.width[layer_of(word)];
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits ^= (word & 0x100) << 23;
  float signed_x;
  std::memcpy(&signed_x, &bits, sizeof bits);
  return signed_x;
}

__extension__ typedef unsigned __int128 Wide;

}  // namespace

void Normals::refill() {
  std::array<Counter, kBlocks> blocks;
  for (Counter& block : blocks) {  // NumPy counts up before it draws
    for (std::uint64_t& word : counter_) {
      if (++word != 0) break;
    }
    block = counter_;
  }
  Key key = key_;
  for (int round = 0; round < 10; ++round) {
    for (Counter& c : blocks) {
      const Wide first = Wide{0xD2E7470EE14C6C93} * c[0];
      const Wide second = Wide{0xCA5A826395121157} * c[2];
      c = {static_cast<std::uint64_t>(second >> 64) ^ c[1] ^ key[0],
           static_cast<std::uint64_t>(second),
           static_cast<std::uint64_t>(first >> 64) ^ c[3] ^ key[1],
           static_cast<std::uint64_t>(first)};
    }
    key[0] += 0x9E3779B97F4A7C15;
    key[1] += 0xBB67AE8584CAA73B;
  }
  std::size_t place = 0;
  for (const Counter& block : blocks) {
    for (const std::uint64_t word : block) {
      words_[place++] = static_cast<std::uint32_t>(word);
      words_[place++] = static_cast<std::uint32_t>(word >> 32);
    }
  }
  used_ = 0;
}

std::uint32_t Normals::next() {
  if (used_ == kWords) refill();
  return words_[used_++];
}

float Normals::uniform() { return static_cast<float>(next() >> 8) * (1.0f / 16777216.0f); }

// What becomes of a word that is not under the curve for sure: one in 140.
float Normals::unusual(std::uint32_t word, float x, bool& settled) {
  const std::uint32_t layer = layer_of(word);
  settled = true;
  if (layer != 0) {
    const float below = kLayers.height[layer - 1] - kLayers.height[layer];
    const float y = below * uniform() + kLayers.height[layer];
    settled = static_cast<double>(y) < std::exp(-0.5 * x * x);
    return x;
  }
  constexpr float edge = static_cast<float>(kEdge);
  constexpr float inverse = static_cast<float>(1 / kEdge);
  for (;;) {
    const float far = -inverse * std::log1p(-uniform());
    const float up = -std::log1p(-uniform());
    if (up + up > far * far) {
      return (steps_of(word) >> 8 & 1) != 0 ? -(edge + far) : edge + far;
    }
  }
}

void Normals::fill(float* out, std::size_t count, std::size_t stride) {
  for (std::size_t made = 0; made < count;) {
    if (used_ == kWords) refill();
    const std::size_t ready = std::min(count - made, kWords - used_);
    const std::uint32_t* words = words_.data() + used_;
    std::size_t usual = 0;
    for (; usual < ready; ++usual) {
      const std::uint32_t word = words[usual];
      if (steps_of(word) >= kLayers.inside[layer_of(word)]) break;
      out[(made + usual) * stride] = place_of(word);
    }
    made += usual;
    used_ += usual;
    if (usual == ready) continue;
    const std::uint32_t word = next();
    bool settled = false;
    out[made * stride] = unusual(word, place_of(word), settled);
    if (settled) ++made;
  }
}

}  // namespace nvmc
