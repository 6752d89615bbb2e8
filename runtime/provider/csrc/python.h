// The border between onnxruntime's threads and Python: no exception and no Python call passes it
// unguarded, and none passes it once the interpreter begins to shut down.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string>

#include "host.h"

namespace nvmc {

namespace py = pybind11;

// Holds the interpreter's lock; throws std::runtime_error when the interpreter is shutting down.
class PythonCall {
 public:
  PythonCall();
  ~PythonCall();
  PythonCall(const PythonCall&) = delete;
  PythonCall& operator=(const PythonCall&) = delete;

 private:
  PyGILState_STATE state_;
};

// Refuses every later PythonCall and waits for those under way. Call with the lock held.
void close_python();

// "ValueError: message" of a caught Python exception; call with the lock held. A KeyboardInterrupt
// is raised again in the main thread, since a status cannot carry it.
std::string describe(const py::error_already_set& error);

// Runs `body` under the interpreter's lock; whatever it throws becomes a status that starts with
// `where`.
template <typename Body>
ort::Status* guarded(const Host& host, const std::string& where, Body body) noexcept {
  try {
    const PythonCall python;
    try {
      body();
      return nullptr;
    } catch (const py::error_already_set& error) {
      return host.failure(where + describe(error));
    }
  } catch (const std::exception& error) {
    return host.failure(where + error.what());
  }
}

// Deletes an object that holds Python references, or leaves it be when Python is gone.
template <typename Object>
void retire(Object* object) noexcept {
  try {
    const PythonCall python;
    delete object;
  } catch (const std::exception&) {
    return;  // the process ends and takes the memory with it
  }
}

}  // namespace nvmc
