#include "graph.h"

#include <pybind11/stl.h>

#include <cstring>

#include "tensor.h"

namespace nvmc {
namespace {

using Values = std::vector<const ort::ValueInfo*>;

// Reads a list that onnxruntime gives in two calls: how many, then which.
template <typename Item, typename Owner, typename Count, typename Fill>
std::vector<const Item*> list_of(const Host& host, const Owner* owner, Count count, Fill fill) {
  std::size_t size = 0;
  host.check(count(host.api, owner, &size));
  std::vector<const Item*> items(size, nullptr);
  host.check(fill(host.api, owner, items.data(), size));
  return items;
}

Values inputs_of(const Host& host, const ort::Node* node) {
  return list_of<ort::ValueInfo>(host, node, ort::GetInputCount, ort::GetInputs);
}

Values outputs_of(const Host& host, const ort::Node* node) {
  return list_of<ort::ValueInfo>(host, node, ort::GetOutputCount, ort::GetOutputs);
}

template <typename Owner, typename Getter>
std::string text_of(const Host& host, const Owner* owner, Getter getter) {
  const char* text = nullptr;
  host.check(getter(host.api, owner, &text));
  return text == nullptr ? "" : text;
}

std::vector<std::string> names_of(const Host& host, const Values& values) {
  std::vector<std::string> names;
  for (const ort::ValueInfo* value : values) {
    names.push_back(value == nullptr ? "" : text_of(host, value, ort::GetValueName));
  }
  return names;
}

// NumPy's name of a value's element type, or None for what is no tensor that NumPy can hold.
py::object type_name(const Host& host, const ort::ValueInfo* value) {
  const ort::TypeInfo* type = nullptr;
  const ort::TensorInfo* tensor = nullptr;
  host.check(ort::GetValueType(host.api, value, &type));
  if (type == nullptr) return py::none();
  host.check(ort::CastToTensorInfo(host.api, type, &tensor));
  if (tensor == nullptr) return py::none();
  ort::ElementType element = ort::kUndefined;
  host.check(ort::GetTensorElementType(host.api, tensor, &element));
  const char* name = element_name(element);
  return name == nullptr ? py::object(py::none()) : py::object(py::str(name));
}

py::object describe_input(const Host& host, const ort::ValueInfo* value) {
  if (value == nullptr) return py::none();
  const std::string name = text_of(host, value, ort::GetValueName);
  if (name.empty()) return py::none();
  bool constant = false;
  host.check(ort::IsConstantInitializer(host.api, value, &constant));
  return py::make_tuple(name, type_name(host, value), constant);
}

std::vector<char> attribute_bytes(const Host& host, const ort::OpAttribute* attribute,
                                  ort::AttributeType type) {
  std::size_t size = 0;
  ort::Status* status = ort::ReadAttribute(host.api, attribute, type, nullptr, 0, &size);
  if (status != nullptr) ort::ReleaseStatus(host.api, status);  // says that 0 bytes are too few
  std::vector<char> bytes(size);
  host.check(ort::ReadAttribute(host.api, attribute, type, bytes.data(), size, &size));
  bytes.resize(size);
  return bytes;
}

template <typename Number>
std::vector<Number> numbers(const std::vector<char>& bytes) {
  std::vector<Number> values(bytes.size() / sizeof(Number));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(Number));
  return values;
}

// Strings arrive one after another, each with a null at its end.
std::vector<std::string> strings(const std::vector<char>& bytes) {
  std::vector<std::string> values;
  for (std::size_t start = 0; start < bytes.size(); start += values.back().size() + 1) {
    const std::size_t longest = bytes.size() - start;
    values.emplace_back(bytes.data() + start, strnlen(bytes.data() + start, longest));
  }
  return values;
}

py::object first_of(const py::object& list, const py::object& otherwise) {
  return py::len(list) == 0 ? otherwise : py::object(list[py::int_(0)]);
}

py::object attribute_value(const Host& host, const ort::OpAttribute* attribute) {
  ort::AttributeType type{};
  host.check(ort::GetAttributeType(host.api, attribute, &type));
  switch (type) {
    case ort::kInt:
    case ort::kInts: {
      py::object list = py::cast(numbers<std::int64_t>(attribute_bytes(host, attribute, type)));
      return type == ort::kInts ? list : first_of(list, py::int_(0));
    }
    case ort::kFloat:
    case ort::kFloats: {
      py::object list = py::cast(numbers<float>(attribute_bytes(host, attribute, type)));
      return type == ort::kFloats ? list : first_of(list, py::float_(0.0));
    }
    case ort::kString:
    case ort::kStrings: {
      py::object list = py::cast(strings(attribute_bytes(host, attribute, type)));
      return type == ort::kStrings ? list : first_of(list, py::str(""));
    }
    default:
      return py::none();  // no operator of ours has such an attribute
  }
}

py::dict attributes_of(const Host& host, const ort::Node* node) {
  py::dict values;
  for (const ort::OpAttribute* attribute :
       list_of<ort::OpAttribute>(host, node, ort::GetAttributeCount, ort::GetAttributes)) {
    if (attribute == nullptr) continue;
    const std::string name = text_of(host, attribute, ort::GetAttributeName);
    values[py::str(name)] = attribute_value(host, attribute);
  }
  return values;
}

}  // namespace

std::vector<const ort::Node*> nodes_of(const Host& host, const ort::Graph* graph) {
  return list_of<ort::Node>(host, graph, ort::GetNodeCount, ort::GetNodes);
}

bool is_ours(const Host& host, const ort::Node* node) {
  return text_of(host, node, ort::GetDomain) == kDomain;
}

std::vector<std::string> input_names(const Host& host, const ort::Node* node) {
  return names_of(host, inputs_of(host, node));
}

std::vector<std::string> output_names(const Host& host, const ort::Node* node) {
  return names_of(host, outputs_of(host, node));
}

std::string label_of(const Host& host, const ort::Node* node) {
  const std::string op = text_of(host, node, ort::GetOperatorType);
  const std::string name = text_of(host, node, ort::GetNodeName);
  if (!name.empty()) return op + " node '" + name + "': ";
  for (const std::string& output : output_names(host, node)) {
    if (!output.empty()) return op + " node that makes '" + output + "': ";
  }
  return op + " node: ";
}

py::dict describe_node(const Host& host, const ort::Graph* graph, const ort::Node* node) {
  py::list inputs;
  for (const ort::ValueInfo* value : inputs_of(host, node)) {
    inputs.append(describe_input(host, value));
  }
  std::size_t place = 0;
  host.check(ort::GetNodeId(host.api, node, &place));
  int version = 0;
  host.check(ort::GetSinceVersion(host.api, node, &version));
  py::dict fields;
  fields["name"] = text_of(host, node, ort::GetNodeName);
  fields["op"] = text_of(host, node, ort::GetOperatorType);
  fields["domain"] = text_of(host, node, ort::GetDomain);
  fields["version"] = version;
  fields["place"] = place;
  fields["graph"] = text_of(host, graph, ort::GetGraphName);
  fields["inputs"] = inputs;
  fields["outputs"] = output_names(host, node);
  fields["attributes"] = attributes_of(host, node);
  return fields;
}

py::object target_text(const Host& host, const ort::Graph* graph) {
  ort::ModelMetadata* found = nullptr;
  ort::Allocator* allocator = nullptr;
  char* text = nullptr;
  host.check(ort::GetModelMetadata(host.api, graph, &found));
  const auto metadata = owned(host, found, ort::ReleaseModelMetadata);
  host.check(ort::GetDefaultAllocator(host.api, &allocator));
  host.check(ort::LookupMetadata(host.api, found, allocator, kTargetKey, &text));
  if (text == nullptr) return py::none();
  const std::string copy = text;
  host.check(ort::AllocatorFree(host.api, allocator, text));
  return py::str(copy);
}

}  // namespace nvmc
