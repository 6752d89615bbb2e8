// Standard normals of a Philox stream, with the bits of NumPy's Generator.standard_normal(float32).
//
// Philox-4x64-10: Salmon et al., SC 2011. The ziggurat of 256 layers: Marsaglia and Tsang, Journal
// of Statistical Software 5(8), 2000, on 32 random bits a try: 8 for the layer, 1 for the sign, 23
// for the place in it. The order in which words are used is NumPy's, so that a stream may change
// hands between the two at any point. NumPy makes one word a call; here they are made by the block.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace py = pybind11;

namespace {

using Block = std::array<std::uint64_t, 4>;
using Key = std::array<std::uint64_t, 2>;
__extension__ using Wide = unsigned __int128;

constexpr int kRounds = 10;
constexpr std::size_t kBlocksAtOnce = 256;
constexpr double kTail = 3.6541528853610087963519472518;  // where the last layer ends
constexpr double kPlaces = 8388608;                       // 2^23

Block encrypted(Block block, Key key) {
  for (int round = 0; round < kRounds; ++round) {
    const auto left = static_cast<Wide>(0xD2E7470EE14C6C93u) * block[0];
    const auto right = static_cast<Wide>(0xCA5A826395121157u) * block[2];
    block = {static_cast<std::uint64_t>(right >> 64) ^ block[1] ^ key[0],
             static_cast<std::uint64_t>(right),
             static_cast<std::uint64_t>(left >> 64) ^ block[3] ^ key[1],
             static_cast<std::uint64_t>(left)};
    key[0] += 0x9E3779B97F4A7C15u;
    key[1] += 0xBB67AE8584CAA73Bu;
  }
  return block;
}

void advance(Block& counter) {
  for (std::uint64_t& word : counter) {
    if (++word != 0) return;
  }
}

// The words of 32 bits of a stream, the lower half of each 64 first.
class Words {
 public:
  Words(const Block& counter, const Key& key) : counter_(counter), key_(key) {}

  // Words that the stream's owner had made, but not used.
  void push(std::uint32_t word) { ready_.push_back(word); }
  void push(std::uint64_t word) {
    push(static_cast<std::uint32_t>(word));
    push(static_cast<std::uint32_t>(word >> 32));
  }

  std::uint32_t next() {
    if (used_ == ready_.size()) refill(kBlocksAtOnce);
    return ready_[used_++];
  }

  // Makes about as many words as will be needed, so that few are made in vain.
  void expect(std::size_t count) {
    if (used_ == ready_.size()) refill(std::clamp<std::size_t>(count / 8 + 1, 1, kBlocksAtOnce));
  }

  // Uniform in [0, 1), of 24 bits.
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }

  const std::uint32_t* begin() const { return ready_.data() + used_; }
  std::size_t ready() const { return ready_.size() - used_; }
  void skip(std::size_t count) { used_ += count; }
  const Block& counter() const { return counter_; }

 private:
  void refill(std::size_t blocks) {
    ready_.resize(8 * blocks);
    for (std::size_t i = 0; i < blocks; ++i) {
      advance(counter_);
      const Block made = encrypted(counter_, key_);
      for (std::size_t word = 0; word < 4; ++word) {
        ready_[8 * i + 2 * word] = static_cast<std::uint32_t>(made[word]);
        ready_[8 * i + 2 * word + 1] = static_cast<std::uint32_t>(made[word] >> 32);
      }
    }
    used_ = 0;
  }

  Block counter_;
  Key key_;
  std::vector<std::uint32_t> ready_;
  std::size_t used_ = 0;
};

double density(double x) { return std::exp(-0.5 * x * x); }

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

const Layers kLayers;

float beyond_the_tail(Words& words, bool negative) {
  constexpr auto kInverse = static_cast<float>(1 / kTail);
  constexpr auto kStart = static_cast<float>(kTail);
  while (true) {
    const float x = -kInverse * std::log1p(-words.uniform());
    const float y = -std::log1p(-words.uniform());
    if (y + y > x * x) return negative ? -(kStart + x) : kStart + x;
  }
}

// One normal whose first word is at hand, off the fast path.
float one(Words& words) {
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

void fill(Words& words, float* out, std::size_t count) {
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
      out[done + taken] = static_cast<float>(place) * kLayers.step[word & 0x1ff];
    }
    words.skip(taken);
    done += taken;
    if (taken < most) out[done++] = one(words);
  }
}

// A stream as NumPy's Philox keeps it; see `state` of numpy.random.Philox.
struct Stream {
  Block counter;
  Key key;
  Block buffer;
  int position;        // of the first word of `buffer` that is not used yet
  bool half;           // whether `left` is yet to be used, before `buffer`
  std::uint32_t left;  // the upper half of the last word
};

Stream drawn(Stream stream, float* out, std::size_t count) {
  Words words(stream.counter, stream.key);
  if (stream.half) words.push(stream.left);
  for (int i = stream.position; i < 4; ++i) words.push(stream.buffer[i]);
  fill(words, out, count);
  // Back to the last word that was used: what lies behind it is made again by whoever draws next.
  const std::size_t ahead = words.ready();
  stream.half = ahead % 2 == 1;
  if (stream.half) stream.left = *words.begin();
  const std::size_t whole = ahead / 2;
  stream.counter = words.counter();
  std::uint64_t back = whole / 4;
  stream.position = 4 - static_cast<int>(whole % 4);
  for (std::uint64_t& word : stream.counter) {
    const std::uint64_t before = word;
    word -= back;
    back = word > before ? 1 : 0;
  }
  if (stream.position < 4) stream.buffer = encrypted(stream.counter, stream.key);
  return stream;
}

template <std::size_t size>
std::array<std::uint64_t, size> words_of(const py::handle& from) {
  const auto values = py::cast<py::array_t<std::uint64_t, py::array::c_style>>(from);
  if (values.size() != static_cast<py::ssize_t>(size)) throw py::value_error("no Philox state");
  std::array<std::uint64_t, size> found;
  std::copy_n(values.data(), size, found.begin());
  return found;
}

template <std::size_t size>
py::array_t<std::uint64_t> array_of(const std::array<std::uint64_t, size>& words) {
  return py::array_t<std::uint64_t>(size, words.data());
}

py::dict standard_normal(const py::dict& state, py::array_t<float, py::array::c_style> out) {
  const py::dict inner = state["state"];
  Stream stream{words_of<4>(inner["counter"]),        words_of<2>(inner["key"]),
                words_of<4>(state["buffer"]),         py::cast<int>(state["buffer_pos"]),
                py::cast<int>(state["has_uint32"]) != 0, py::cast<std::uint32_t>(state["uinteger"])};
  if (stream.position < 0 || stream.position > 4) throw py::value_error("no Philox state");
  float* to = out.mutable_data();
  const auto count = static_cast<std::size_t>(out.size());
  {
    py::gil_scoped_release release;
    stream = drawn(stream, to, count);
  }
  py::dict words, found;
  words["counter"] = array_of(stream.counter);
  words["key"] = array_of(stream.key);
  found["bit_generator"] = state["bit_generator"];
  found["state"] = words;
  found["buffer"] = array_of(stream.buffer);
  found["buffer_pos"] = stream.position;
  found["has_uint32"] = stream.half ? 1 : 0;
  found["uinteger"] = stream.left;
  return found;
}

}  // namespace

PYBIND11_MODULE(_normals, module) {
  module.doc() = "Standard normals of a Philox stream, as NumPy draws them.";
  module.def("standard_normal", &standard_normal, py::arg("state"), py::arg("out").noconvert(),
             "Fill `out` (float32, C order) from a Philox bit generator's `state`; the state after.");
}
