// The Python module `nvmc.runtime.crossbar._native`.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <tuple>
#include <stdexcept>
#include <string>
#include <vector>

#include "encoder.h"
#include "reader.h"

namespace py = pybind11;

namespace {

using nvmc::Size;
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Wholes = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using Flags = py::array_t<bool, py::array::c_style | py::array::forcecast>;

// `what` is no string yet: checks of every offset would each make one.
void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

template <typename Array>
Size size_of(const Array& array) {
  return static_cast<Size>(array.size());
}

std::vector<Size> offsets_of(const Wholes& offsets) {
  std::vector<Size> found;
  for (py::ssize_t i = 0; i < offsets.size(); ++i) {
    expect(offsets.data()[i] >= 0, "an offset is negative");
    found.push_back(static_cast<Size>(offsets.data()[i]));
  }
  return found;
}

Size most(const std::vector<Size>& offsets) {
  return offsets.empty() ? 0 : *std::max_element(offsets.begin(), offsets.end());
}

std::vector<Size> runs_of(const std::vector<Size>& offsets) {
  std::vector<Size> runs(offsets.size(), 1);
  for (Size i = offsets.size(); i-- > 1;) {
    if (offsets[i] == offsets[i - 1] + 1) runs[i - 1] = runs[i] + 1;
  }
  return runs;
}

const nvmc::Kernel& kernel_named(const std::string& name) {
  for (const nvmc::Kernel& kernel : nvmc::kernels()) {
    if (kernel.name == name) return kernel;
  }
  throw std::invalid_argument("this processor has no kernel " + name);
}

std::unique_ptr<nvmc::Reader> reader_of(const std::string& kernel, const Floats& unit,
                                        const Floats& coefficients, float shift, bool offsets,
                                        Size bits, Size slice, bool bipolar, bool accumulates) {
  expect(bits <= 16 && slice <= 16 && (bits == 0 || slice > 0), "slices have 1 to 16 bits");
  expect(unit.ndim() == 2 && coefficients.size() > 0, "unit is (groups, cols), lanes at least 1");
  nvmc::Plan plan;
  plan.groups = static_cast<Size>(unit.shape(0));
  plan.cols = static_cast<Size>(unit.shape(1));
  plan.unit.assign(unit.data(), unit.data() + unit.size());
  plan.coefficients.assign(coefficients.data(), coefficients.data() + coefficients.size());
  plan.shift = shift;
  plan.offsets = offsets;
  plan.bits = bits;
  plan.slice = slice;
  plan.bipolar = bipolar;
  plan.accumulates = accumulates;
  return std::make_unique<nvmc::Reader>(std::move(plan), kernel_named(kernel));
}

using Marks = py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>;
using Bent = std::tuple<Floats, Floats, Marks, Floats, std::optional<Floats>, float>;

nvmc::Curves curves_of(const std::optional<Bent>& given, Size columns) {
  nvmc::Curves found;
  if (!given) return found;
  const auto& [thresholds, levels, of_column, inverse, worth, noise] = *given;
  expect(thresholds.ndim() == 2 && levels.ndim() == 2 && thresholds.shape(0) == levels.shape(0) &&
             thresholds.shape(1) == levels.shape(1),
         "thresholds and levels are (curves, size)");
  found.size = static_cast<Size>(levels.shape(1));
  expect(found.size > 0 && (found.size & (found.size - 1)) == 0, "size is a power of two");
  expect(size_of(of_column) == columns && size_of(inverse) == columns &&
             (!worth || size_of(*worth) == columns),
         "every column has a curve, a scale and a worth");
  const auto count = static_cast<std::uint32_t>(levels.shape(0));
  const std::uint32_t* first = of_column.data();
  expect(std::all_of(first, first + columns, [count](std::uint32_t one) { return one < count; }),
         "columns have curves that are there");
  found.thresholds.assign(thresholds.data(), thresholds.data() + thresholds.size());
  found.levels.assign(levels.data(), levels.data() + levels.size());
  found.of_column.assign(first, first + columns);
  found.inverse.assign(inverse.data(), inverse.data() + columns);
  if (worth) found.worth.assign(worth->data(), worth->data() + columns);
  found.noise = noise;
  return found;
}

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Inl = std::tuple<Doubles, Doubles, double>;

void add_tile(nvmc::Reader& reader, Size first_row, const Floats& currents,
              const std::optional<Floats>& variance, const Floats& at_unit,
              const std::optional<std::array<float, 3>>& adc, float step,
              const std::vector<std::vector<double>>& responses,
              const std::optional<Bent>& curves, const std::optional<Inl>& inl) {
  const nvmc::Plan& plan = reader.plan();
  expect(currents.ndim() == 3, "currents are (groups, rows, width)");
  const Size times = std::max<Size>(1, responses.size());
  const Size rows = static_cast<Size>(currents.shape(1)) / times;
  const Size size = plan.groups * rows * plan.width();
  expect(std::all_of(responses.begin(), responses.end(),
                     [](const std::vector<double>& one) { return !one.empty(); }),
         "responses have coefficients");
  expect(size_of(currents) == size * times && size_of(at_unit) == plan.groups * plan.cols &&
             (!variance || size_of(*variance) == size),
         "matrices fit the reader");
  nvmc::Converter converter;
  if (adc) converter = {true, (*adc)[0], (*adc)[1], (*adc)[2], step};
  reader.add(first_row, rows, converter, curves_of(curves, plan.groups * plan.width()),
             currents.data(), variance ? variance->data() : nullptr, at_unit.data(), responses);
  if (!inl) return;
  const auto& [bow, curl, top] = *inl;
  expect(size_of(bow) == plan.groups * rows && size_of(curl) == size_of(bow),
         "every row has a bow and a curl");
  reader.bend(bow.data(), curl.data(), top);
}

nvmc::Source source_of(const py::array& array, Size entry, Size group, const Wholes& vectors,
                       const Wholes& rows, Size entries, Size groups) {
  expect(array.dtype().is(py::dtype::of<float>()), "inputs are float32");
  nvmc::Source source;
  source.data = static_cast<const float*>(array.data());
  source.entry = entry;
  source.group = group;
  source.entries = entries;
  source.vectors = offsets_of(vectors);
  source.run = runs_of(source.vectors);
  source.rows = offsets_of(rows);
  if (entries == 0 || source.vectors.empty() || source.rows.empty()) return source;
  expect(array.size() > 0, "vectors lie within their array, which is empty");
  Size reach = 1;
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    expect(array.strides(axis) >= 0 && array.strides(axis) % 4 == 0, "strides are whole");
    reach += static_cast<Size>((array.shape(axis) - 1) * (array.strides(axis) / 4));
  }
  const Size last = (entries - 1) * entry + (groups - 1) * group + most(source.vectors);
  expect(last + most(source.rows) < reach, "vectors lie within their array");
  return source;
}

nvmc::Sink sink_of(py::array& out, const std::optional<Floats>& bias, const nvmc::Plan& plan,
                   const nvmc::Source& source) {
  expect(out.dtype().is(py::dtype::of<float>()) && out.writeable() && out.ndim() == 4,
         "out is a writable float32 array (entries, groups, vectors, cols)");
  expect(static_cast<Size>(out.shape(0)) == source.entries &&
             static_cast<Size>(out.shape(1)) == plan.groups &&
             static_cast<Size>(out.shape(2)) == source.vectors.size() &&
             static_cast<Size>(out.shape(3)) == plan.cols,
         "out has the shape of the result");
  expect(!bias || size_of(*bias) == plan.groups * plan.cols, "bias is one number a column");
  nvmc::Sink sink;
  sink.data = static_cast<float*>(out.mutable_data());
  sink.entry = out.strides(0) / 4;
  sink.group = out.strides(1) / 4;
  sink.vector = out.strides(2) / 4;
  sink.col = out.strides(3) / 4;
  sink.bias = bias ? bias->data() : nullptr;
  return sink;
}

// For each row of tiles the numbers of results that it clipped, and what it clipped counts for.
using Clips = std::vector<std::tuple<py::array_t<std::int64_t>, py::array_t<float>>>;

Clips clips_of(const std::vector<nvmc::Clipped>& clipped) {
  Clips found;
  for (const nvmc::Clipped& one : clipped) {
    const auto size = static_cast<py::ssize_t>(one.numbers.size());
    found.emplace_back(py::array_t<std::int64_t>(size, one.numbers.data()),
                       py::array_t<float>(size, one.lost.data()));
  }
  return found;
}

using Noise =
    std::tuple<std::array<std::optional<std::array<std::uint64_t, 2>>, nvmc::kFresh>, Wholes, Wholes>;

Clips read_vectors(const nvmc::Reader& reader, const py::array& array, std::array<Size, 2> strides,
          const Wholes& vectors, const Wholes& rows, const Floats& step, const Floats& offset,
          const Flags& is_signed, py::array out, const std::optional<Floats>& bias,
          const std::optional<Noise>& noise, bool asks_clipped) {
  const nvmc::Plan& plan = reader.plan();
  const Size entries = size_of(step);
  expect(size_of(offset) == entries && size_of(is_signed) == entries, "one drive an entry");
  expect(!plan.tiles.empty(), "the reader has tiles");
  const nvmc::Tile& last = plan.tiles.back();
  expect(size_of(rows) >= last.first_row + last.rows, "rows reach the last tile");
  const nvmc::Source source =
      source_of(array, strides[0], strides[1], vectors, rows, entries, plan.groups);
  nvmc::Sink sink = sink_of(out, bias, plan, source);
  std::vector<nvmc::Clipped> clipped(asks_clipped ? plan.tiles.size() : 0);
  if (asks_clipped) {
    expect(std::all_of(plan.tiles.begin(), plan.tiles.end(),
                       [](const nvmc::Tile& tile) { return tile.curves.empty(); }),
           "of curves nobody says what was clipped");
    sink.clipped = &clipped;
  }
  const nvmc::Drive drive{step.data(), offset.data(), is_signed.data()};
  nvmc::Reads reads;
  if (noise) {
    const auto& [keys, numbers, parts] = *noise;
    expect(size_of(numbers) == entries && size_of(parts) == entries, "one read an entry");
    reads = {keys, numbers.data(), parts.data()};
  }
  {
    const py::gil_scoped_release release;
    reader.read(source, drive, reads, sink);
  }
  return clips_of(clipped);
}

// The axes of an entry, those that lie side by side joined.
nvmc::Layout layout_of(const py::array& codes) {
  nvmc::Layout layout;
  layout.entry = codes.strides(0) / 4;
  for (py::ssize_t axis = 1; axis < codes.ndim(); ++axis) {
    const auto length = static_cast<Size>(codes.shape(axis));
    const std::ptrdiff_t stride = codes.strides(axis) / 4;
    const bool joins = !layout.shape.empty() &&
                       layout.strides.back() == stride * static_cast<std::ptrdiff_t>(length);
    if (joins) {
      layout.shape.back() *= length;
      layout.strides.back() = stride;
    } else {
      layout.shape.push_back(length);
      layout.strides.push_back(stride);
    }
  }
  if (layout.shape.empty() || layout.strides.back() != 1) {
    layout.shape.push_back(1);
    layout.strides.push_back(1);
  }
  return layout;
}

using Driven = std::tuple<Floats, Floats, py::array_t<bool>>;

Driven drive(const std::string& kernel, const Floats& x, py::array codes, bool whole, float top,
             float half, const std::optional<float>& limit) {
  expect(codes.dtype().is(py::dtype::of<float>()) && codes.writeable() && codes.ndim() == x.ndim() &&
             x.ndim() > 0,
         "codes are a writable float32 array of the shape of the numbers");
  for (py::ssize_t axis = 0; axis < x.ndim(); ++axis) {
    expect(codes.shape(axis) == x.shape(axis), "codes have the shape of the numbers");
  }
  const nvmc::Kernel& chosen = kernel_named(kernel);
  const nvmc::Converting dac{whole, top, half, limit.has_value(), limit.value_or(0.0f)};
  const nvmc::Layout layout = layout_of(codes);
  const py::ssize_t entries = x.shape(0);
  Driven found{Floats(entries), Floats(entries), py::array_t<bool>(entries)};
  auto& [step, offset, is_signed] = found;
  const nvmc::Encoded encoded{step.mutable_data(), offset.mutable_data(),
                              is_signed.mutable_data()};
  auto* to = static_cast<float*>(codes.mutable_data());
  {
    const py::gil_scoped_release release;
    nvmc::encode(chosen, dac, x.data(), static_cast<Size>(entries), layout, to, encoded);
  }
  return found;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "Compiled kernels of the crossbar simulator; see csrc/.";
  py::list names;
  for (const nvmc::Kernel& kernel : nvmc::kernels()) names.append(kernel.name);
  module.attr("KERNELS") = py::tuple(names);
  module.def("drive", &drive);
  py::class_<nvmc::Reader>(module, "Reader")
      .def(py::init(&reader_of), py::arg("kernel"), py::arg("unit"), py::arg("coefficients"),
           py::arg("shift"), py::arg("offsets"), py::arg("bits"), py::arg("slice") = 1,
           py::arg("bipolar") = false, py::arg("accumulates") = false)
      .def("add", &add_tile, py::arg("first_row"), py::arg("currents"), py::arg("variance"),
           py::arg("at_unit"), py::arg("adc"), py::arg("step"),
           py::arg("responses") = std::vector<std::vector<double>>{},
           py::arg("curves") = py::none(), py::arg("inl") = py::none())
      .def("read", &read_vectors, py::arg("source"), py::arg("strides"), py::arg("vectors"),
           py::arg("rows"), py::arg("step"), py::arg("offset"), py::arg("signed"), py::arg("out"),
           py::arg("bias"), py::arg("noise"), py::arg("clipped") = false);
}
