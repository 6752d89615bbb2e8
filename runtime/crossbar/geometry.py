"""Where the windows of a convolution lie: kernel, strides, dilations and padding, resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nvmc.errors import ModelError

__all__ = ["Window", "conv_window", "transpose_window"]

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """The windows of one convolution, per spatial axis.

    Attributes:
        kernel: Kernel sizes.
        strides: Steps between windows.
        dilations: Steps between the kernel's elements.
        before: Padding at the start.
        after: Padding at the end. An `output_shape` longer than all windows of a transposed
            convolution together is filled with zeros there.
        output: Output sizes.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    before: Sizes
    after: Sizes
    output: Sizes

    @property
    def reach(self) -> Sizes:
        """Elements from the first to the last that a kernel covers."""
        return _reach(self.kernel, self.dilations)


def conv_window(attributes: Mapping[str, Any], inputs: Sizes, kernel: Sizes) -> Window:
    """The windows of a Conv over `inputs`, as the ONNX specification of Conv says.

    Raises:
        ModelError: The attributes do not fit the input or the kernel.
    """
    strides, dilations, pads, auto_pad = _common(attributes, kernel)
    reach = _reach(kernel, dilations)
    if auto_pad.startswith("SAME"):
        output = tuple(-(-size // step) for size, step in zip(inputs, strides, strict=True))
        total = [
            max(0, (out - 1) * step + span - size)
            for out, step, span, size in zip(output, strides, reach, inputs, strict=True)
        ]
        before, after = _split(total, extra_at_end=auto_pad == "SAME_UPPER")
        return Window(kernel, strides, dilations, before, after, output)
    rank = len(kernel)
    before, after = pads[:rank], pads[rank:]
    if min(pads) < 0:
        raise ModelError(f"pads are {list(pads)}; expected values of at least 0")
    padded = tuple(sum(sizes) for sizes in zip(inputs, before, after, strict=True))
    if any(size < span for size, span in zip(padded, reach, strict=True)):
        raise ModelError(
            f"spatial input {list(inputs)} with pads {list(pads)} is smaller than the kernel's "
            f"reach {list(reach)}; expected at least that: feed larger inputs"
        )
    output = tuple((p - r) // s + 1 for p, r, s in zip(padded, reach, strides, strict=True))
    return Window(kernel, strides, dilations, before, after, output)


def transpose_window(attributes: Mapping[str, Any], inputs: Sizes, kernel: Sizes) -> Window:
    """The windows of a ConvTranspose over `inputs`, as the ONNX specification of it says.

    Raises:
        ModelError: The attributes do not fit the input or the kernel.
    """
    strides, dilations, pads, auto_pad = _common(attributes, kernel)
    rank = len(kernel)
    extra = _sizes(attributes, "output_padding", (0,) * rank)
    full = [
        step * (size - 1) + span + more
        for step, size, span, more in zip(
            strides, inputs, _reach(kernel, dilations), extra, strict=True
        )
    ]
    wanted = attributes.get("output_shape")
    if wanted is None and auto_pad.startswith("SAME"):  # as onnxruntime: no more than there is
        same = zip(inputs, strides, full, strict=True)
        wanted = [min(size * step, most) for size, step, most in same]
    if wanted is None:
        before, after = pads[:rank], pads[rank:]
        output = tuple(f - b - a for f, b, a in zip(full, before, after, strict=True))
    else:
        output = tuple(int(size) for size in wanted)[-rank:]
        if len(output) != rank:
            raise ModelError(f"output_shape is {list(output)}; expected {rank} sizes")
        total = [max(0, f - out) for f, out in zip(full, output, strict=True)]
        before, after = _split(total, extra_at_end=auto_pad == "SAME_UPPER")
    if min(before) < 0 or min(output) < 1:
        raise ModelError(
            f"pads {[*before, *after]} make an output of {list(output)}; expected pads of at "
            f"least 0 that leave something of {full}: change pads or output_shape"
        )
    return Window(kernel, strides, dilations, before, after, output)


def _common(attributes: Mapping[str, Any], kernel: Sizes) -> tuple[Sizes, Sizes, Sizes, str]:
    """Strides, dilations, pads (zero unless NOTSET) and auto_pad, checked."""
    rank = len(kernel)
    if _sizes(attributes, "kernel_shape", kernel) != kernel:
        raise ModelError(
            f"kernel_shape is {attributes['kernel_shape']}; expected the weight's {list(kernel)}"
        )
    strides = _sizes(attributes, "strides", (1,) * rank)
    dilations = _sizes(attributes, "dilations", (1,) * rank)
    if min(*strides, *dilations) < 1:
        raise ModelError(f"strides {strides} and dilations {dilations}; expected at least 1 each")
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ModelError(
            f"auto_pad is {auto_pad!r}; expected NOTSET, VALID, SAME_UPPER or SAME_LOWER"
        )
    zero = (0,) * (2 * rank)
    pads = _sizes(attributes, "pads", zero) if auto_pad == "NOTSET" else zero
    return strides, dilations, pads, auto_pad


def _sizes(attributes: Mapping[str, Any], name: str, default: Sizes) -> Sizes:
    values = tuple(int(value) for value in attributes.get(name, default))
    if len(values) != len(default):
        raise ModelError(f"{name} is {list(values)}; expected {len(default)} values")
    return values


def _reach(kernel: Sizes, dilations: Sizes) -> Sizes:
    return tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))


def _split(total: list[int], *, extra_at_end: bool) -> tuple[Sizes, Sizes]:
    small = tuple(math.floor(pad / 2) for pad in total)
    large = tuple(pad - half for pad, half in zip(total, small, strict=True))
    return (small, large) if extra_at_end else (large, small)
