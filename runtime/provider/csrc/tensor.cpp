#include "tensor.h"

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace nvmc {
namespace {

struct TensorType {
  ort::ElementType element;
  std::vector<std::int64_t> shape;
};

TensorType type_of(const Host& host, const ort::Value* value) {
  ort::TensorInfo* found = nullptr;
  host.check(ort::GetTensorTypeAndShape(host.api, value, &found));
  const auto info = owned(host, found, ort::ReleaseTensorInfo);
  TensorType type{};
  std::size_t rank = 0;
  host.check(ort::GetTensorElementType(host.api, found, &type.element));
  host.check(ort::GetDimensionsCount(host.api, found, &rank));
  type.shape.resize(rank);
  host.check(ort::GetDimensions(host.api, found, type.shape.data(), rank));
  return type;
}

// NumPy's type number, or -1.
int type_number(ort::ElementType type) {
  using numpy = py::detail::npy_api;
  constexpr int kHalf = 23;  // NPY_HALF, which pybind11 does not name
  switch (type) {
    case ort::kFloat32: return numpy::NPY_FLOAT_;
    case ort::kUint8: return numpy::NPY_UINT8_;
    case ort::kInt8: return numpy::NPY_INT8_;
    case ort::kUint16: return numpy::NPY_UINT16_;
    case ort::kInt16: return numpy::NPY_INT16_;
    case ort::kInt32: return numpy::NPY_INT32_;
    case ort::kInt64: return numpy::NPY_INT64_;
    case ort::kBool: return numpy::NPY_BOOL_;
    case ort::kFloat16: return kHalf;
    case ort::kFloat64: return numpy::NPY_DOUBLE_;
    case ort::kUint32: return numpy::NPY_UINT32_;
    case ort::kUint64: return numpy::NPY_UINT64_;
    default: return -1;
  }
}

py::dtype dtype_of(ort::ElementType type) {
  const int number = type_number(type);
  if (number >= 0) return py::dtype(number);
  throw std::runtime_error("NumPy has no element type for onnxruntime's number " +
                           std::to_string(type));
}

bool same_type(const py::dtype& left, const py::dtype& right) {
  return py::detail::npy_api::get().PyArray_EquivTypes_(left.ptr(), right.ptr());
}

std::string name_of(const py::handle& object) { return py::str(object).cast<std::string>(); }

}  // namespace

const char* element_name(ort::ElementType type) {
  static const char* const names[] = {nullptr, "float32", "uint8",   "int8",    "uint16",
                                      "int16", "int32",   "int64",   nullptr,   "bool",
                                      "float16", "float64", "uint32", "uint64"};
  return type_number(type) < 0 ? nullptr : names[type];
}

py::array view(const Host& host, const ort::Value* value) {
  const TensorType type = type_of(host, value);
  const void* data = nullptr;
  host.check(ort::GetTensorData(host.api, value, &data));
  // The base object makes NumPy use the memory in place; being no writable buffer, it also keeps
  // the flag below from being set back.
  py::array array(dtype_of(type.element), type.shape, data, py::none());
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return array;
}

py::array output(const Host& host, ort::KernelContext* context, std::size_t index,
                 const std::vector<std::int64_t>& shape) {
  ort::Value* value = nullptr;
  host.check(ort::GetKernelOutput(host.api, context, index, shape.data(), shape.size(), &value));
  void* data = nullptr;
  host.check(ort::GetTensorMutableData(host.api, value, &data));
  return py::array(dtype_of(type_of(host, value).element), shape, data, py::none());
}

void write_output(const Host& host, ort::KernelContext* context, std::size_t index,
                  const py::handle& result) {
  const std::string place = "output " + std::to_string(index) + " is ";
  if (!py::isinstance<py::array>(result)) {
    throw std::runtime_error(place + "a " + name_of(py::type::of(result).attr("__name__")) +
                             "; expected a NumPy array");
  }
  const auto array = py::array::ensure(result, py::array::c_style);
  if (!array) throw py::error_already_set();
  const std::vector<std::int64_t> shape(array.shape(), array.shape() + array.ndim());
  ort::Value* value = nullptr;
  host.check(ort::GetKernelOutput(host.api, context, index, shape.data(), shape.size(), &value));
  const py::dtype expected = dtype_of(type_of(host, value).element);
  if (!same_type(array.dtype(), expected)) {
    throw std::runtime_error(place + name_of(array.dtype()) + "; expected " + name_of(expected));
  }
  void* data = nullptr;
  host.check(ort::GetTensorMutableData(host.api, value, &data));
  const void* from = array.data();
  const auto size = static_cast<std::size_t>(array.nbytes());
  const py::gil_scoped_release release;  // other chips compute while memory is copied
  if (size > 0 && data != from) std::memcpy(data, from, size);
}

}  // namespace nvmc
