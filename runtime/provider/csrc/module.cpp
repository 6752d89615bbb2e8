// The Python module `nvmc.runtime.provider._shim`.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_shim, module, pybind11::mod_gil_not_used(false)) { module.doc() = "The plugin execution provider's native half."; }
