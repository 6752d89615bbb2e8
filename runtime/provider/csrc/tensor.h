// onnxruntime's tensors as NumPy arrays.
#pragma once

#include <pybind11/numpy.h>

#include <vector>

#include "host.h"
#include "python.h"

namespace nvmc {

// NumPy's name of an element type, or null where NumPy has none.
const char* element_name(ort::ElementType type);

// A read-only array over the tensor's own memory, valid as long as the tensor is.
py::array view(const Host& host, const ort::Value* value);

// Output `index` of the running kernel, made in that shape: an array over its own memory, valid as long
// as the call.
py::array output(const Host& host, ort::KernelContext* context, std::size_t index,
                 const std::vector<std::int64_t>& shape);

// Copies `array`, unless it lies there already, into output `index` of the running kernel, which is made in its shape.
void write_output(const Host& host, ort::KernelContext* context, std::size_t index,
                  const py::handle& array);

}  // namespace nvmc
