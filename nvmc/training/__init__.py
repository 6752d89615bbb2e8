"""Training of ONNX networks in torch: the same graph comes back with other weights."""
