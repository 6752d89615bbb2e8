"""Small networks from ONNX's text syntax, for tests of passes."""

import warnings

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort


def proto_of(text: str, seed: int = 0, opset: int = 21, **stored: np.ndarray) -> onnx.ModelProto:
    """Parse a graph; tensors declared in <> without numbers become standard normal initializers.

    `stored` are more initializers, by name, of any type.
    """
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]>{text}')
    generator = np.random.default_rng(seed)
    for info in proto.graph.value_info:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        array = generator.standard_normal(shape).astype(kind)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    del proto.graph.value_info[:]
    for name, values in stored.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)


def model_of(text: str, seed: int = 0, opset: int = 21, **stored: np.ndarray) -> ir.Model:
    """`proto_of`, for passes."""
    return ir.from_proto(proto_of(text, seed, opset, **stored))


def session_of(model: ir.Model) -> ort.InferenceSession:
    """A session over the checked model."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: ir.Model, **inputs: np.ndarray) -> list[np.ndarray]:
    """Every output of the checked model."""
    return session_of(model).run(None, inputs)


def text_of(model: ir.Model) -> str:
    """The whole model as text, to compare two models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnx.printer.to_text(ir.to_proto(model))
