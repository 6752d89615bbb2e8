// onnxruntime's graph as plain Python values.
#pragma once

#include <string>
#include <vector>

#include "host.h"
#include "python.h"

namespace nvmc {

std::vector<const ort::Node*> nodes_of(const Host& host, const ort::Graph* graph);

bool is_ours(const Host& host, const ort::Node* node);

// Names of a node's inputs and outputs; empty where an optional one is left out.
std::vector<std::string> input_names(const Host& host, const ort::Node* node);
std::vector<std::string> output_names(const Host& host, const ort::Node* node);

// "Conv node 'conv1': ", for messages.
std::string label_of(const Host& host, const ort::Node* node);

// The fields of `nvmc.runtime.provider.claims.Node`.
py::dict describe_node(const Host& host, const ort::Graph* graph, const ort::Node* node);

// The model's metadata under `kTargetKey`, or None.
py::object target_text(const Host& host, const ort::Graph* graph);

}  // namespace nvmc
