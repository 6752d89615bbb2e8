#include "kernel.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "graph.h"
#include "tensor.h"

namespace nvmc {
namespace {

// Where each of `names` stands in `among`; `absent` for those that do not.
std::vector<std::size_t> places(const std::vector<std::string>& names,
                                const std::vector<std::string>& among, std::size_t absent) {
  std::vector<std::size_t> found;
  for (const std::string& name : names) {
    const auto place = std::find(among.begin(), among.end(), name);
    const bool here = !name.empty() && place != among.end();
    found.push_back(here ? static_cast<std::size_t>(place - among.begin()) : absent);
  }
  return found;
}

bool any_kept(const std::vector<py::object>& views) {
  const auto kept = [](const py::object& view) { return !view.is_none() && view.ref_count() > 1; };
  return std::any_of(views.begin(), views.end(), kept);
}

}  // namespace

Kernel::Kernel(const Host& host, const ort::Node* node, const ort::Node* fused,
               py::object callable)
    : ort::NodeComputeInfo{ort::kApiVersion, create_state, compute, release_state},
      host_(host),
      label_(label_of(host, node)),
      inputs_(places(input_names(host, node), input_names(host, fused), kAbsent)),
      outputs_(places(output_names(host, fused), output_names(host, node), kAbsent)),
      callable_(std::move(callable)) {}

ort::Status* Kernel::create_state(ort::NodeComputeInfo*, void*, void** state) noexcept {
  *state = nullptr;  // the kernel itself is the state
  return nullptr;
}

void Kernel::release_state(ort::NodeComputeInfo*, void*) noexcept {}

ort::Status* Kernel::compute(ort::NodeComputeInfo* self, void*,
                             ort::KernelContext* context) noexcept {
  const auto* kernel = static_cast<const Kernel*>(self);
  return guarded(kernel->host_, kernel->label_, [&] { kernel->run(context); });
}

void Kernel::run(ort::KernelContext* context) const {
  std::vector<py::object> views = views_of(context);
  std::string failure = call(context, views);
  if (any_kept(views)) py::module_::import("gc").attr("collect")();  // a cycle is not kept
  if (any_kept(views)) {
    failure += failure.empty() ? "" : "; moreover, ";
    failure += "the kernel kept a view of an input or of the room for its output, which is valid "
               "only during the call; copy it";
  }
  if (!failure.empty()) throw std::runtime_error(failure);
}

// What went wrong, or nothing. The exception and the frames it holds are gone on return, so that
// a view still alive then is a view that was kept.
std::string Kernel::call(ort::KernelContext* context, std::vector<py::object>& views) const {
  auto still = std::make_shared<ort::KernelContext*>(context);
  const std::shared_ptr<void> ends(nullptr, [&](void*) { *still = nullptr; });
  try {
    py::list inputs;
    for (const py::object& view : views) inputs.append(view);
    const py::cpp_function room([this, still, &views](const std::vector<std::int64_t>& shape) {
      if (*still == nullptr) throw std::runtime_error("the call that had this room is over");
      views.push_back(output(host_, *still, 0, shape));
      return views.back();
    });
    const bool first = !outputs_.empty() && outputs_[0] == 0;  // what room is for
    write(context, callable_(inputs, first ? py::object(room) : py::object(py::none())));
  } catch (const py::error_already_set& error) {
    return describe(error);
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

std::vector<py::object> Kernel::views_of(ort::KernelContext* context) const {
  std::vector<py::object> views;
  for (const std::size_t index : inputs_) {
    const ort::Value* value = nullptr;
    if (index != kAbsent) host_.check(ort::GetKernelInput(host_.api, context, index, &value));
    views.push_back(value == nullptr ? py::object(py::none()) : py::object(view(host_, value)));
  }
  return views;
}

void Kernel::write(ort::KernelContext* context, const py::object& results) const {
  if (!py::isinstance<py::sequence>(results)) {
    throw std::runtime_error("the kernel returned no list of arrays");
  }
  const std::size_t count = py::len(results);
  for (std::size_t output = 0; output < outputs_.size(); ++output) {
    if (outputs_[output] >= count) {
      throw std::runtime_error("the kernel returned " + std::to_string(count) +
                               " arrays, fewer than the node has outputs");
    }
    write_output(host_, context, output, results[py::int_(outputs_[output])]);
  }
}

}  // namespace nvmc
