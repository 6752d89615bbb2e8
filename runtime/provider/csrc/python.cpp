#include "python.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>

namespace nvmc {
namespace {

// A thread that asks for the interpreter's lock during shutdown never gets it, so the door is
// closed and the room emptied before shutdown begins.
class Door {
 public:
  bool enter() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
  }

  void leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }

  void close(std::chrono::seconds patience) {
    std::unique_lock<std::mutex> lock(mutex_);
    closed_ = true;
    empty_.wait_for(lock, patience, [this] { return inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  int inside_ = 0;
  bool closed_ = false;
};

// Never destroyed: threads may still look at it while the process ends.
Door& door() {
  static Door* const instance = new Door;
  return *instance;
}

}  // namespace

PythonCall::PythonCall() {
  if (!door().enter()) throw std::runtime_error("the Python interpreter is shutting down");
  state_ = PyGILState_Ensure();
}

PythonCall::~PythonCall() {
  PyGILState_Release(state_);
  door().leave();
}

void close_python() {
  const py::gil_scoped_release release;
  door().close(std::chrono::seconds(10));
}

std::string describe(const py::error_already_set& error) {
  std::string text;
  try {
    text = py::str(error.type().attr("__name__")).cast<std::string>();
    const std::string message = py::str(error.value()).cast<std::string>();
    if (!message.empty()) text += ": " + message;
  } catch (const std::exception&) {
    text += " (its message cannot be printed)";
  }
  if (error.matches(PyExc_KeyboardInterrupt)) PyErr_SetInterrupt();
  return text;
}

}  // namespace nvmc
