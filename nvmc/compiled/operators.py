"""The `nvmc` operators: one table for the passes that write them and the provider that runs them.

An operator stands for one standard ONNX operator whose weights live on crossbars. Each weight
operand W becomes two inputs, `W_codes` and `W_scale` with W = W_codes * W_scale, and the string
list attribute `arrays` names the crossbar arrays, one per weight operand in order. All other
inputs, outputs and attributes are the standard operator's. The function body below computes what
the ideal chip computes, in standard ONNX, so any runtime that knows functions can run a compiled
network. Some runtimes look at an operator's name without its domain; so no name is one that a
standard domain has.

To add an operator: a row here, and the kernel function the row names. `docs/operators.md` is the
versioned specification.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["DOMAIN", "OPS", "PARAMETER", "VERSION", "Op", "function_text"]

DOMAIN = "nvmc"
VERSION = 2
PARAMETER = "CrossbarParameter"
"""The operator that only reads a weight; no product goes through its array."""


@dataclass(frozen=True)
class Op:
    """One operator.

    Attributes:
        name: Its name in the `nvmc` domain.
        replaces: The standard operator it stands for.
        inputs: The standard operator's inputs, in order.
        weights: Which of them are weights on crossbars.
        outputs: The standard operator's outputs.
        attributes: The standard operator's attributes and their types in ONNX text syntax.
        kernel: `module:function` that runs it on a chip.
    """

    name: str
    replaces: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, str]
    kernel: str

    @property
    def function_inputs(self) -> tuple[str, ...]:
        """Inputs of the `nvmc` node: each weight W replaced by W_codes and W_scale."""
        names: list[str] = []
        for name in self.inputs:
            names += [f"{name}_codes", f"{name}_scale"] if name in self.weights else [name]
        return tuple(names)


_KERNELS = "nvmc.runtime.crossbar.kernels"
_CONV = {
    "auto_pad": "string",
    "dilations": "ints",
    "group": "int",
    "kernel_shape": "ints",
    "pads": "ints",
    "strides": "ints",
}
_RECURRENT = {
    "activation_alpha": "floats",
    "activation_beta": "floats",
    "activations": "strings",
    "clip": "float",
    "direction": "string",
    "hidden_size": "int",
    "layout": "int",
}
_RECURRENT_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h")

_TABLE = (
    Op("CrossbarConv", "Conv", ("X", "W", "B"), ("W",), ("Y",), _CONV, f"{_KERNELS}:conv"),
    Op(
        "CrossbarConvTranspose",
        "ConvTranspose",
        ("X", "W", "B"),
        ("W",),
        ("Y",),
        {**_CONV, "output_padding": "ints", "output_shape": "ints"},
        f"{_KERNELS}:conv_transpose",
    ),
    Op(
        "CrossbarGemm",
        "Gemm",
        ("A", "B", "C"),
        ("B",),
        ("Y",),
        {"alpha": "float", "beta": "float", "transA": "int", "transB": "int"},
        f"{_KERNELS}:gemm",
    ),
    Op("CrossbarMatMul", "MatMul", ("A", "B"), ("B",), ("Y",), {}, f"{_KERNELS}:matmul"),
    Op("CrossbarLeftMatMul", "MatMul", ("A", "B"), ("A",), ("Y",), {}, f"{_KERNELS}:left_matmul"),
    Op(
        "CrossbarLSTM",
        "LSTM",
        (*_RECURRENT_INPUTS, "initial_c", "P"),
        ("W", "R"),
        ("Y", "Y_h", "Y_c"),
        {**_RECURRENT, "input_forget": "int"},
        f"{_KERNELS}:lstm",
    ),
    Op(
        "CrossbarGRU",
        "GRU",
        _RECURRENT_INPUTS,
        ("W", "R"),
        ("Y", "Y_h"),
        {**_RECURRENT, "linear_before_reset": "int"},
        f"{_KERNELS}:gru",
    ),
    Op(
        "CrossbarRNN",
        "RNN",
        _RECURRENT_INPUTS,
        ("W", "R"),
        ("Y", "Y_h"),
        _RECURRENT,
        f"{_KERNELS}:rnn",
    ),
    Op(PARAMETER, "Identity", ("P",), ("P",), ("Y",), {}, f"{_KERNELS}:parameter"),
)

OPS: dict[str, Op] = {op.name: op for op in _TABLE}
if len(OPS) != len(_TABLE):
    raise RuntimeError("two rows of nvmc.compiled.operators share a name")


def function_text(op: Op, opset: int, attributes: Collection[str] | None = None) -> str:
    """The operator's function body in ONNX text syntax, over standard opset `opset`.

    `attributes` are those that it passes on, all of the operator's for None. A call may leave some
    out, but `onnx.reference` wants every one of them.

    Codes are cast to the scale's type and multiplied, which keeps codes of 16 bits exact whatever
    the network's precision; the product is cast to the type of the activations.
    """
    lines: list[str] = []
    like = next((name for name in op.inputs if name not in op.weights), None)
    for name in op.weights:
        wide = name if like is None else f"{name}_wide"
        lines.append(f"{name}_cast = CastLike ({name}_codes, {name}_scale)")
        lines.append(f"{wide} = Mul ({name}_cast, {name}_scale)")
        if like is not None:
            lines.append(f"{name} = CastLike ({name}_wide, {like})")
    passed = {k: v for k, v in op.attributes.items() if attributes is None or k in attributes}
    settings = ", ".join(f"{key}: {kind} = @{key}" for key, kind in passed.items())
    settings = f" <{settings}>" if settings else ""
    outputs, inputs = ", ".join(op.outputs), ", ".join(op.inputs)
    lines.append(f"{outputs} = {op.replaces}{settings} ({inputs})")
    names = ", ".join(("arrays", *passed))
    signature = f"{op.name} <{names}> ({', '.join(op.function_inputs)}) => ({outputs})"
    body = "\n  ".join(lines)
    return f'<domain: "{DOMAIN}", opset_import: ["" : {opset}]>\n{signature} {{\n  {body}\n}}\n'
