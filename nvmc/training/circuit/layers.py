"""The operators that a circuit takes the place of, called as those of `nvmc.torchgraph`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from nvmc.errors import OptionError
from nvmc.passes.graph.layers import label
from nvmc.passes.graph.mappable import Layer
from nvmc.torchgraph.operators.convolution import conv, conv_channels_last
from nvmc.torchgraph.operators.linear import gemm, matmul
from nvmc.torchgraph.operators.padding import filled, pads_of
from nvmc.training.circuit.products import ConvProduct, LinearProduct, Product

__all__ = ["Plain", "Read", "check_layer", "function_of"]

Ints = tuple[int, ...]
Plain = Callable[[Tensor, Tensor], Tensor]
"""A product of inputs and weight without a circuit, in one go."""
_MEANT = "keep it digital with --skip, or let only KPPs see the circuit with --circuit judged"


class Read(Protocol):
    """What reads an array: the circuit of one layer."""

    @property
    def offsets(self) -> bool:
        """Whether the DAC adds an offset, also to the zeros around an image."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether images lie in memory with their channels last (`channels_last_pays`)."""
        ...

    @property
    def used(self) -> bool:
        """Whether there is a chip to read now; else the layer computes digitally."""
        ...

    def __call__(self, x: Tensor, weight: Tensor, product: Product, plain: Plain) -> Tensor:
        """The outputs without bias, shape (entries, groups, cols, ...).

        Args:
            x: Inputs, entries along the first axis.
            weight: What the array computes with.
            product: How.
            plain: The same product without a circuit, in one go.
        """
        ...


def check_layer(layer: Layer) -> None:
    """Complain about a layer whose circuit training does not have.

    Raises:
        OptionError: By what it is.
    """
    node = layer.node
    what = f"{node.op_type} {label(node)!r}"
    if layer.op.name not in _FUNCTIONS:
        raise OptionError(f"{what} cannot be trained through its circuit; {_MEANT}")
    shape = layer.weights[0].source.shape
    if "MatMul" in layer.op.name and shape is not None and len(shape) != 2:
        raise OptionError(
            f"{what} has weights of shape {list(shape)}, of which only matrices can be trained "
            f"through their circuit; {_MEANT}"
        )


def function_of(layer: Layer, read: Read) -> Callable[..., Any]:
    """What computes a layer through the circuit that reads its array."""
    return _FUNCTIONS[layer.op.name](read)


class _Conv:
    def __init__(self, read: Read) -> None:
        self._read = read

    def __call__(
        self,
        x: Tensor,
        w: Tensor,
        b: Tensor | None = None,
        *,
        auto_pad: str = "NOTSET",
        dilations: Ints | None = None,
        group: int = 1,
        kernel_shape: Ints | None = None,
        pads: Ints | None = None,
        strides: Ints | None = None,
    ) -> Tensor:
        rank = w.dim() - 2
        strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
        given: dict[str, Any] = {"dilations": dilations, "group": group, "strides": strides}
        last = self._read.channels_last and rank == 2
        plain = conv_channels_last if last else conv
        if not self._read.used:
            return plain(x, w, b, auto_pad=auto_pad, pads=pads, **given)
        begin, end = pads_of(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
        if begin != end or self._read.offsets:
            x, begin = filled(x, begin, end), (0,) * rank
        shape = tuple(w.shape)
        product = ConvProduct(shape, tuple(strides), tuple(begin), tuple(dilations), group, last)
        whole = partial(_whole, plain, pads=(*begin, *begin), **given)
        y = self._read(x, w, product, whole)
        y = y.flatten(1, 2)
        return y if b is None else y + b.view(-1, *(1,) * rank)


def _whole(conv: Callable[..., Tensor], x: Tensor, w: Tensor, **given: Any) -> Tensor:
    y = conv(x, w, **given)
    return y.view(len(y), given["group"], -1, *y.shape[2:])


class _Gemm:
    def __init__(self, read: Read) -> None:
        self._read = read

    def __call__(
        self,
        a: Tensor,
        b: Tensor,
        c: Tensor | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        transA: int = 0,  # noqa: N803
        transB: int = 0,  # noqa: N803
    ) -> Tensor:
        if not self._read.used:
            return gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
        y = _linear(self._read, a.t() if transA else a, b, bool(transB))
        y = y if alpha == 1.0 else y * alpha
        return y if c is None else y + (c if beta == 1.0 else c * beta)


class _MatMul:
    def __init__(self, read: Read) -> None:
        self._read = read

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        if not self._read.used:
            return matmul(a, b)
        return _linear(self._read, a, b, columns_first=False)


class _LeftMatMul:
    def __init__(self, read: Read) -> None:
        self._read = read

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        if not self._read.used:
            return matmul(a, b)
        if b.dim() == 1:
            return _linear(self._read, b, a, columns_first=True)
        return _linear(self._read, b.mT, a, columns_first=True).mT


def _linear(read: Read, x: Tensor, weight: Tensor, columns_first: bool) -> Tensor:
    """Vectors (..., K), each an entry of its own, by a matrix."""
    product = LinearProduct(tuple(weight.shape), columns_first)

    def plain(rows: Tensor, matrix: Tensor) -> Tensor:
        y = rows @ (matrix.t() if columns_first else matrix)
        return y[:, None]

    y = read(x.reshape(-1, x.shape[-1]), weight, product, plain)
    return y.view(*x.shape[:-1], product.matrix.cols)


_FUNCTIONS: dict[str, Callable[[Read], Callable[..., Any]]] = {
    "CrossbarConv": _Conv,
    "CrossbarGemm": _Gemm,
    "CrossbarMatMul": _MatMul,
    "CrossbarLeftMatMul": _LeftMatMul,
}
