// One claimed node at run time.
#pragma once

#include <string>
#include <vector>

#include "host.h"
#include "python.h"

namespace nvmc {

// Runs a Python callable on views of the node's inputs. The callable takes a list with one entry
// an input of the node, None where it is left out, and a function from a shape to the memory of the
// first output (or None), and returns one array an output.
class Kernel : public ort::NodeComputeInfo {
 public:
  // `node` is the node that was claimed, `fused` the one that stands in its place, whose inputs
  // and outputs are the same values in an order of onnxruntime's own.
  Kernel(const Host& host, const ort::Node* node, const ort::Node* fused, py::object callable);

 private:
  static constexpr std::size_t kAbsent = static_cast<std::size_t>(-1);

  static ort::Status* create_state(ort::NodeComputeInfo*, void*, void** state) noexcept;
  static ort::Status* compute(ort::NodeComputeInfo* self, void*,
                              ort::KernelContext* context) noexcept;
  static void release_state(ort::NodeComputeInfo*, void*) noexcept;

  void run(ort::KernelContext* context) const;
  std::string call(ort::KernelContext* context, std::vector<py::object>& views) const;
  std::vector<py::object> views_of(ort::KernelContext* context) const;
  void write(ort::KernelContext* context, const py::object& results) const;

  Host host_;
  std::string label_;
  std::vector<std::size_t> inputs_;   // of each input of the node: which of the fused node's
  std::vector<std::size_t> outputs_;  // of each output of the fused node: which of the node's
  py::object callable_;
};

}  // namespace nvmc
