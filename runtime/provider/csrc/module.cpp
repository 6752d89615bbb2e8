// The Python module `nvmc.runtime.provider._shim`.
#include <pybind11/pybind11.h>

#include "host.h"
#include "python.h"

PYBIND11_MODULE(_shim, module) {
  module.doc() = "The native half of the execution provider; onnxruntime loads it as a library.";
  module.attr("PROVIDER_NAME") = nvmc::kProviderName;
  module.attr("LOWEST_ONNXRUNTIME") = nvmc::ort::kLowestVersion;
  pybind11::module_::import("atexit").attr("register")(
      pybind11::cpp_function([] { nvmc::close_python(); }));
}
