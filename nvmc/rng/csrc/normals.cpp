// The Python module `nvmc.rng._normals`.
#include "normals.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace {

using nvmc::Block;
using nvmc::Key;
using nvmc::Words;

// A stream as NumPy's Philox keeps it; see `state` of numpy.random.Philox.
struct Stream {
  Block counter;
  Key key;
  Block buffer;
  int position;        // of the first word of `buffer` that is not used yet
  bool half;           // whether `left` is yet to be used, before `buffer`
  std::uint32_t left;  // the upper half of the last word
};

constexpr std::size_t kNormalsAtOnce = 1024;

// The stream after `draw(words)`, which takes words of it: about so many, where it is known.
template <typename Draw>
Stream drawn(Stream stream, const Draw& draw, std::size_t expected = 0) {
  Words words(stream.counter, stream.key, expected);
  if (stream.half) words.push(stream.left);
  for (int i = stream.position; i < 4; ++i) words.push(stream.buffer[i]);
  draw(words);
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
  if (stream.position < 4) stream.buffer = nvmc::encrypted(stream.counter, nvmc::Schedule(stream.key));
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

Stream stream_of(const py::dict& state) {
  const py::dict inner = state["state"];
  Stream stream{words_of<4>(inner["counter"]),        words_of<2>(inner["key"]),
                words_of<4>(state["buffer"]),         py::cast<int>(state["buffer_pos"]),
                py::cast<int>(state["has_uint32"]) != 0, py::cast<std::uint32_t>(state["uinteger"])};
  if (stream.position < 0 || stream.position > 4) throw py::value_error("no Philox state");
  return stream;
}

py::dict state_of(const Stream& stream, const py::dict& before) {
  py::dict words, found;
  words["counter"] = array_of(stream.counter);
  words["key"] = array_of(stream.key);
  found["bit_generator"] = before["bit_generator"];
  found["state"] = words;
  found["buffer"] = array_of(stream.buffer);
  found["buffer_pos"] = stream.position;
  found["has_uint32"] = stream.half ? 1 : 0;
  found["uinteger"] = stream.left;
  return found;
}

using Floats = py::array_t<float, py::array::c_style>;

py::dict standard_normal(const py::dict& state, Floats out) {
  Stream stream = stream_of(state);
  float* to = out.mutable_data();
  const auto count = static_cast<std::size_t>(out.size());
  {
    py::gil_scoped_release release;
    stream = drawn(stream, [&](Words& words) { nvmc::fill(words, to, count); });
  }
  return state_of(stream, state);
}

// Planes of `size` numbers each, moved by normals and added up with a coefficient each.
struct Planes {
  const float* levels;
  const float* spread;  // as many numbers, or one
  bool spread_each;
  std::vector<float> coefficients;
  std::size_t size;

  void sum(Words& words, float* out) const {
    std::array<float, kNormalsAtOnce> normals;
    for (std::size_t plane = 0; plane < coefficients.size(); ++plane) {
      for (std::size_t first = 0; first < size; first += kNormalsAtOnce) {
        const std::size_t count = std::min(kNormalsAtOnce, size - first);
        nvmc::fill(words, normals.data(), count);
        move(plane * size + first, count, normals.data());
        const float coefficient = coefficients[plane];
        float* to = out + first;
        if (plane == 0) {
          for (std::size_t i = 0; i < count; ++i) to[i] = normals[i] * coefficient;
        } else {
          for (std::size_t i = 0; i < count; ++i) to[i] = to[i] + normals[i] * coefficient;
        }
      }
    }
  }

 private:
  // levels + spread * normals, in the place of the normals.
  void move(std::size_t start, std::size_t count, float* normals) const {
    const float* level = levels + start;
    if (spread_each) {
      const float* each = spread + start;
      for (std::size_t i = 0; i < count; ++i) normals[i] = level[i] + each[i] * normals[i];
    } else {
      const float all = *spread;
      for (std::size_t i = 0; i < count; ++i) normals[i] = level[i] + all * normals[i];
    }
  }
};

py::dict sum_of_planes(const py::dict& state, const Floats& levels, const Floats& spread,
                       const Floats& coefficients, Floats out) {
  const auto size = static_cast<std::size_t>(out.size());
  const auto planes = static_cast<std::size_t>(coefficients.size());
  const auto count = static_cast<std::size_t>(levels.size());
  const auto spreads = static_cast<std::size_t>(spread.size());
  if (count != planes * size || (spreads != 1 && spreads != count)) {
    throw py::value_error("levels, spread, coefficients and out do not fit each other");
  }
  Stream stream = stream_of(state);
  const Planes sums{levels.data(), spread.data(), spreads == count,
                    {coefficients.data(), coefficients.data() + planes}, size};
  float* to = out.mutable_data();
  {
    py::gil_scoped_release release;
    stream = drawn(stream, [&](Words& words) { sums.sum(words, to); }, count);
  }
  return state_of(stream, state);
}

}  // namespace

PYBIND11_MODULE(_normals, module) {
  module.doc() = "Standard normals of a Philox stream, as NumPy draws them.";
  module.def("standard_normal", &standard_normal, py::arg("state"), py::arg("out").noconvert(),
             "Fill `out` (float32, C order) from a Philox bit generator's `state`; the state after.");
  module.def("sum_of_planes", &sum_of_planes, py::arg("state"), py::arg("levels").noconvert(),
             py::arg("spread"), py::arg("coefficients"), py::arg("out").noconvert(),
             "Fill `out` with the sum over planes of coefficient * (levels + spread * normals), in "
             "float32 without fused multiply-adds; the state after. `spread` is of the size of "
             "`levels`, or one number.");
}
