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

Stream drawn(Stream stream, float* out, std::size_t count) {
  Words words(stream.counter, stream.key);
  if (stream.half) words.push(stream.left);
  for (int i = stream.position; i < 4; ++i) words.push(stream.buffer[i]);
  nvmc::fill(words, out, count);
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
