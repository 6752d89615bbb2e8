"""Queries on an ONNX graph: what is where. Nothing here changes a model."""
