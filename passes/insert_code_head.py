"""A head of code bits: classes told apart by words of an error-correcting output code."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.errors import ModelError, OptionError
from nvmc.passes.graph.layers import array_of, is_constant, label
from nvmc.passes.graph.mappable import FLOATS, Layer, initializer_of, layer_of
from nvmc.passes.graph.names import Names
from nvmc.rng import stream

__all__ = ["CODE_KEY", "InsertCodeHead", "code_book", "code_logits"]

CODE_KEY = "nvmc.code-book"
"""Metadata key of a model with a head of code bits: JSON with `initializer`, `logits`, ..."""
_BEHIND = frozenset({"Identity", "LogSoftmax", "Softmax"})


def code_book(classes: int, length: int) -> NDArray[np.bool_]:
    """Code words that differ in at least half of their bits.

    The words are rows of Sylvester's Hadamard matrix of order `length` and their complements (the
    first-order Reed-Muller code), each complemented or not by a quadratic function of its number:
    with classes enough no two of the head's binary classifiers then get the same task. Any two
    words differ in at least length / 2 bits, which corrects floor((length / 2 - 1) / 2) flipped
    ones. By Plotkin's bound no code of this length has a greater distance for more than
    length / 2 + 1 classes.

    Args:
        classes: Words, 2 to 2 * length.
        length: Bits, a power of two, at least 2.

    Returns:
        Bits of shape (classes, length).

    Raises:
        OptionError: The length is no power of two, or too short for so many classes.
    """
    if length < 2 or length & (length - 1):
        raise OptionError(f"code length is {length}; expected a power of two, such as 16 or 32")
    if classes < 2 or classes > 2 * length:
        shortest = 2 ** max(1, math.ceil(math.log2(max(classes, 2) / 2)))
        raise OptionError(
            f"{classes} classes have no code of {length} bits; expected 2 classes or more, and a "
            f"length of at least {shortest}"
        )
    first = max(0, (length - classes) // 2)  # in the middle, so that every column is mixed
    numbers = (first + np.arange(classes)) % (2 * length)
    rows, complement = numbers % length, numbers >= length
    columns = np.arange(length)
    bits = _parity(rows[:, None] & columns) ^ _quadratic(rows)[:, None] ^ complement[:, None]
    return bits.astype(bool)


def _parity(numbers: NDArray[Any]) -> NDArray[Any]:
    """1 where a number has an odd count of ones."""
    return np.bitwise_count(numbers).astype(np.int64) & 1


def _quadratic(numbers: NDArray[Any]) -> NDArray[Any]:
    """x0 x1 + x2 x3 + ... of the bits of each number: as far from every column as can be."""
    pairs = numbers & (numbers >> 1)
    return _parity(pairs & 0x5555555555555555)


def code_logits(model: ir.Model) -> tuple[str, NDArray[Any]] | None:
    """What a head of code bits is trained on; None where the model has none.

    Returns:
        Name of the value (N, length) whose sigmoid is the probability of each bit, and the code
        book (classes, length).

    Raises:
        ModelError: The model says that it has one, but it is not there.
    """
    if CODE_KEY not in model.metadata_props:
        return None
    entry = _entry(model)
    book = array_of(model.graph.initializers.get(str(entry.get("initializer"))))
    logits = str(entry.get("logits"))
    values = {value.name for node in model.graph for value in node.outputs}
    if book is None or logits not in values:
        raise ModelError(
            f"the metadata {CODE_KEY!r} name values that the model lacks; start from the "
            "network without a code head"
        )
    return logits, book


def _entry(model: ir.Model) -> dict[str, Any]:
    """What the metadata say."""
    try:
        entry: Any = json.loads(model.metadata_props[CODE_KEY])
        return dict(entry)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the metadata {CODE_KEY!r} are damaged; start from the network without a code head"
        ) from error


@dataclass
class InsertCodeHead(ir.passes.InPlacePass):
    """Replace the classes of the last layer by the bits of a code, and decode to class scores.

    The last Gemm or MatMul gets one output a bit, drawn anew: uniform within 1 / sqrt(fan-in).
    Behind it stand Sigmoid and, in elementary operators that have no weights and so stay digital
    whatever the target, the score of class c: minus the squared distance of the bits b to its
    code word, `-sum_j (b_j - c_cj)^2`. With hard decoding each bit is rounded first, and the
    score is minus the Hamming distance. A final Softmax or LogSoftmax goes. The output keeps its
    name and shape.

    The code book is the initializer `OUTPUT_code_book`, and the metadata `nvmc.code-book` name it
    and the value to train on (`code_logits`). A model that has this very head already stays as it
    is. Train the result: its head knows nothing yet.

    Source: Liu et al., A fault-tolerant neural network architecture, DAC 2019.

    Attributes:
        length: Bits of a code word, a power of two.
        decoding: `soft` compares probabilities, `hard` the rounded bits.
        seed: Seed of the new weights.

    Raises:
        OptionError: The length or the seed is out of range, or the model has another code head.
        ModelError: The output is no product of a constant weight, or it is used elsewhere too.
    """

    length: int = 16
    decoding: Literal["soft", "hard"] = "soft"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        code_book(2, self.length)
        if self.decoding not in ("soft", "hard"):
            raise OptionError(f"decoding is {self.decoding!r}; expected soft or hard")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; expected 0 or more")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace the head; returns whether anything changed."""
        if CODE_KEY in model.metadata_props:
            self._check_present(model)
            return ir.passes.PassResult(model, False)
        graph, names = model.graph, Names(model)
        head = _find(graph)
        book = code_book(head.classes, self.length)
        self._draw(head)
        output, logits = graph.outputs[0], head.logits
        name, shape = str(output.name), output.shape
        logits.name, logits.shape = names.fresh(f"{name}_code_logits"), None
        value = names.initializer(f"{name}_code_book", book)
        scores = _decoded(model, names, name, logits, value, hard=self.decoding == "hard")
        graph.outputs[0] = scores
        graph.remove(head.behind, safe=True)
        scores.name, scores.shape = name, shape
        entry = {
            "initializer": value.name,
            "logits": logits.name,
            "classes": head.classes,
            "length": self.length,
            "decoding": self.decoding,
        }
        model.metadata_props[CODE_KEY] = json.dumps(entry)
        return ir.passes.PassResult(model, True)

    def _check_present(self, model: ir.Model) -> None:
        """Complain where the head that is there is another one."""
        entry = _entry(model)
        found = {"length": entry.get("length"), "decoding": entry.get("decoding")}
        if found != {"length": self.length, "decoding": self.decoding}:
            raise OptionError(
                f"the network has a head of {found['length']} code bits with {found['decoding']} "
                f"decoding already, not of {self.length} with {self.decoding}; ask for that one, "
                "or start from the network without it"
            )

    def _draw(self, head: _Head) -> None:
        """New weights and biases for `length` outputs."""
        fan_in = head.shape[1 - head.axis]
        bound = 1 / math.sqrt(fan_in)
        shape = (self.length, fan_in) if head.axis == 0 else (fan_in, self.length)
        for value, size in [(head.weight, shape), (head.bias, (self.length,))]:
            if value is not None:
                draws = stream(self.seed, 0, str(value.name), "code head")
                array = draws.uniform(-bound, bound, size).astype(head.dtype.numpy())
                value.const_value = ir.Tensor(array, name=value.name)
                value.shape = ir.Shape(size)


@dataclass(frozen=True)
class _Head:
    """The last layer.

    Attributes:
        weight: Its weight, along whose `axis` the classes lie.
        bias: Its bias, where it has one.
        logits: Its result, bias included.
        behind: Softmax and the like, from the output backwards.
    """

    weight: ir.Value
    axis: int
    bias: ir.Value | None
    logits: ir.Value
    behind: list[ir.Node]

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.weight.const_value is not None
        return tuple(self.weight.const_value.shape.numpy())

    @property
    def classes(self) -> int:
        return self.shape[self.axis]

    @property
    def dtype(self) -> ir.DataType:
        return self.weight.dtype or ir.DataType.FLOAT


def _find(graph: ir.Graph) -> _Head:
    """The layer that computes the first output.

    Raises:
        ModelError: It is not of a form that can be given code bits.
    """
    value, behind, bias = graph.outputs[0], list[ir.Node](), None
    _check_alone(value, 0)
    node = value.producer()
    while node is not None and node.op_type in _BEHIND and not node.domain:
        behind.append(node)
        value = node.inputs[0] or value
        _check_alone(value, 1)
        node = value.producer()
    logits = value
    if node is not None and node.op_type == "Add" and sum(map(is_constant, node.inputs)) == 1:
        bias = next(operand for operand in node.inputs if is_constant(operand))
        value = next(operand for operand in node.inputs if operand is not bias) or value
        _check_alone(value, 1)
        node = value.producer()
    if node is None or node.domain or node.op_type not in ("Gemm", "MatMul"):
        found = "an input" if node is None else f"{label(node)!r} ({node.op_type})"
        raise ModelError(
            f"the output {graph.outputs[0].name!r} is computed by {found}; a head of code bits "
            "takes the place of a Gemm or MatMul at the end"
        )
    if bias is None and len(node.inputs) > 2:
        bias = node.inputs[2]
    if bias is not None:
        _check_constant(node, bias, 1)
    if value is not logits:
        value.shape = None
    weight = _check_constant(node, node.inputs[1], 2)
    layer = layer_of(node)
    assert isinstance(layer, Layer)  # the weight is constant and float
    axis = 0 if layer.place.columns_first else 1
    return _Head(weight, axis, bias, logits, behind)


def _check_alone(value: ir.Value, readers: int) -> None:
    """Complain where something else reads what changes its meaning."""
    if len(value.uses()) > readers or (readers and value.is_graph_output()):
        raise ModelError(
            f"{value.name!r} is read elsewhere too; a head of code bits changes its meaning"
        )


def _check_constant(node: ir.Node, value: ir.Value | None, rank: int) -> ir.Value:
    """`value`, a parameter that can be replaced."""
    tensor = initializer_of(value)
    if value is None or tensor is None or tensor.dtype not in FLOATS or len(tensor.shape) != rank:
        raise ModelError(
            f"the last layer {label(node)!r} has a weight or bias that is no constant of rank "
            f"{rank}; canonicalize the model first"
        )
    if len(value.uses()) > 1 or value.is_graph_output():
        raise ModelError(
            f"{value.name!r} of the last layer {label(node)!r} is used elsewhere too; a head of "
            "code bits needs parameters of its own"
        )
    return value


def _decoded(
    model: ir.Model, names: Names, name: str, logits: ir.Value, book: ir.Value, *, hard: bool
) -> ir.Value:
    """Class scores (N, classes) from the logits of the bits; names start with `name`.

    With z the logit of a bit, sigmoid(z) is the probability b of a one, and of a zero sigmoid(-z);
    so `|b - c| = sigmoid(c ? -z : z)`, and the constant of the graph is the code book as bits.
    """
    kind = ir.TensorType(logits.dtype or ir.DataType.FLOAT)
    assert book.shape is not None
    value = logits

    def add(op: str, operands: list[ir.Value], **attributes: Any) -> ir.Value:
        nonlocal value
        before = value.producer()
        assert before is not None
        node = ir.node(op, operands, attributes, name=names.fresh(f"{name}_code_{op.lower()}"))
        before.append(node)
        value = node.outputs[0]
        value.name, value.type = names.fresh(f"{node.name}_out"), kind
        return value

    shape = np.array([-1, 1, book.shape[1]], np.int64)
    bits = add("Reshape", [logits, names.initializer(f"{name}_code_shape", shape)])
    wrong = add("Sigmoid", [add("Where", [book, add("Neg", [bits]), bits])])
    if hard:
        wrong = add("Round", [wrong])
    squares = [add("Mul", [wrong, wrong])]
    if model.opset_imports.get("", 0) < 13:
        return add("Neg", [add("ReduceSum", squares, axes=[2], keepdims=0)])
    squares.append(names.initializer(f"{name}_code_axis", np.array([2], np.int64)))
    return add("Neg", [add("ReduceSum", squares, keepdims=0)])
