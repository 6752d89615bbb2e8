"""bind-inputs: sizes and constants that the user gives for a network's inputs.

A size given for a named axis holds for every axis of that name. An input that is bound to a
constant is an input no more: every image gets the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nvmc.budget import check_room
from nvmc.compiled.options import CompileOptions
from nvmc.data.stored import stored_array
from nvmc.errors import DataError, ModelError, OptionError, unknown
from nvmc.hardware.options import pairs, value_of
from nvmc.passes.convert_opset import convert_opset
from nvmc.passes.graph.names import Names
from nvmc.passes.infer_shapes import infer_shapes

__all__ = [
    "IMAGES",
    "_shapes_of",
    "bind_inputs",
    "bound_value",
    "constants_of",
    "fix_sizes",
    "states_of",
]

IMAGES = "images"
"""Name of the images' axis where the network has none for it."""
_SIZES = 1 << 63
"""Sizes of ONNX are below."""
_EXPAND = 8
"""First opset with Expand."""

Size = int | str | None


def _shapes_of(options: CompileOptions) -> dict[str, tuple[Size, ...]]:
    """Sizes by the name of the input, as `options.shape` says; None leaves an axis free.

    Raises:
        OptionError: A text is no shape.
    """
    texts = pairs("--shape", options.shape, "input_ids=Nx128", form="INPUT=SIZExSIZE…", names=True)
    return {name: _sizes(name, text) for name, text in texts.items()}


def constants_of(options: CompileOptions) -> dict[str, str]:
    """What constant inputs hold, as texts by the name of the input."""
    return pairs("--input", options.inputs, "sr=16000", form="INPUT=VALUE", names=True)


def states_of(options: CompileOptions) -> dict[str, str]:
    """Output by the input that takes it a step later, as `options.state` says."""
    return pairs("--state", options.state, "h=hn", form="INPUT=OUTPUT", names=True)


def bind_inputs(model: ir.Model, options: CompileOptions) -> None:
    """Give a network's inputs the sizes and constants of the options.

    State inputs move behind the others, and initial states are left for `loop-states`. The axis of
    images has one name in all inputs.

    Args:
        model: As loaded; changed in place.
        options: How it is compiled: `shape`, `inputs` and `state`.

    Raises:
        OptionError: An input is unknown, a size is not the network's, or a value does not fit.
        ModelError: An input has no shape, or holds no numbers.
    """
    shapes, constants, states = _shapes_of(options), constants_of(options), states_of(options)
    if (constants or states) and (model.graph.opset_imports.get("") or 1) < _EXPAND:
        convert_opset(model, _EXPAND)
    initial = set(model.graph.initializers.values())
    inputs = {str(v.name): v for v in model.graph.inputs if v not in initial}
    for where, names in (("--shape", shapes), ("--input", constants), ("--state", states)):
        for name in names:
            if name not in inputs:
                raise OptionError(f"{where}: {unknown('input', name, inputs)}")
    for name, value in inputs.items():
        _check_type(value)
        if name in shapes:
            _shape(model, value, shapes[name])
        elif value.shape is None:
            raise ModelError(
                f"input {name!r} has no shape in the file; say its sizes, the images' first, as "
                f"in --shape {name}=Nx3x224x224"
            )
    if shapes:
        infer_shapes(model)
    if not constants and not states:
        return
    fed = [v for name, v in inputs.items() if name not in {*constants, *states}]
    if not fed:
        raise OptionError(
            f"--input and --state leave no input for images; the network's are {', '.join(inputs)}"
        )
    _name_images(model, fed[0], [inputs[name] for name in (*constants, *states)])
    for name, text in constants.items():
        if name not in states:
            _bind(model, inputs[name], text, fed)
    last = [inputs[name] for name in states]
    kept = [value for value in model.graph.inputs if value not in last]
    model.graph.inputs.clear()
    model.graph.inputs.extend([*kept, *last])


def fix_sizes(model: ir.Model, sizes: Mapping[str, Sequence[int]]) -> None:
    """Fix the sizes that inputs leave free behind the images, as these say by name."""
    for value in model.graph.inputs:
        name = str(value.name)
        if name in sizes and value.shape:
            images = value.shape[0]
            _shape(model, value, [images if isinstance(images, int) else None, *sizes[name]])


def bound_value(
    model: ir.Model, value: ir.Value, text: str, fed: Sequence[ir.Value], option: str = "--input"
) -> tuple[ir.Value, list[ir.Node]]:
    """What an input holds for every image, and the nodes that make it of the number of images.

    Args:
        model: Gets the numbers as an initializer.
        value: The input.
        text: `zeros`, `ones`, a number or a .npy file.
        fed: The inputs that images go into; their sizes are the ones that are free in `value`.
        option: Whose text it is.

    Raises:
        OptionError: It is none of these, or does not fit the input.
    """
    name = str(value.name)
    places = _places(value, fed)
    array = _array(value, text, places, f"{option} {name}={text}")
    names = Names(model)
    held = names.initializer(f"{name}.value", array)
    if not places:
        return held, []
    nodes: list[ir.Node] = []
    parts: list[ir.Value] = []

    def add(op: str, inputs: list[ir.Value | None], kind: ir.DataType, **attributes: Any) -> None:
        node = ir.node(op, inputs, attributes, name=names.fresh(f"{name}.{op}"))
        node.outputs[0].name = names.fresh(f"{name}.{op.lower()}")
        node.outputs[0].dtype = kind
        nodes.append(node)

    for axis, size in enumerate(array.shape):
        if axis not in places:
            number = np.array([size], np.int64)
            parts.append(names.initializer(f"{name}.size{axis}", number))
            continue
        source, along = places[axis]
        index = names.initializer(f"{name}.axis{axis}", np.array([along], np.int64))
        add("Shape", [source], ir.DataType.INT64)
        add("Gather", [nodes[-1].outputs[0], index], ir.DataType.INT64, axis=0)
        parts.append(nodes[-1].outputs[0])
    add("Concat", [*parts], ir.DataType.INT64, axis=0)
    add("Expand", [held, nodes[-1].outputs[0]], value.dtype or ir.DataType.FLOAT)
    made = nodes[-1].outputs[0]
    made.shape = value.shape
    return made, nodes


def _bind(model: ir.Model, value: ir.Value, text: str, fed: Sequence[ir.Value]) -> None:
    """Put a constant in the place of an input."""
    made, nodes = bound_value(model, value, text, fed)
    graph = model.graph
    first = next(iter(graph), None)
    if first is None:
        graph.extend(nodes)
    else:
        graph.insert_before(first, nodes)
    value.replace_all_uses_with(made, replace_graph_outputs=True)
    graph.inputs.remove(value)


def _check_type(value: ir.Value) -> None:
    if value.dtype == ir.DataType.STRING:
        holds = "strings"
    elif value.dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128):
        holds = "complex numbers"
    elif isinstance(value.type, ir.TensorType):
        return
    else:
        holds = "a sequence, map or optional"
    raise ModelError(
        f"input {value.name!r} holds {holds}; expected real numbers: export the network without "
        "what turns them into such, and feed it those"
    )


def _sizes(name: str, text: str) -> tuple[Size, ...]:
    if text in ("", "scalar"):
        return ()
    sizes: list[Size] = []
    for part in re.split(r"\s*,\s*" if "," in text else r"x", text):
        if part.isdecimal() and 0 < int(part) < _SIZES:
            sizes.append(int(part))
        elif part in ("?", "*") or re.fullmatch(r"[^\W\d][\w.+-]*", part):
            sizes.append(None if part in ("?", "*") else part)
        else:
            raise OptionError(
                f"--shape {name}={text}: {part!r} is no size; expected whole numbers from 1 on, or "
                "names of axes that stay free, as in Nx3x224x224 or batch,3,224,224"
            )
    return tuple(sizes)


def _shape(model: ir.Model, value: ir.Value, sizes: Sequence[Size]) -> None:
    """Give an input those sizes, and every axis of the same name, too."""
    given = "x".join("?" if size is None else str(size) for size in sizes) or "scalar"
    if value.shape is None:
        value.shape = ir.Shape(sizes)
        return
    where = f"--shape {value.name}={given}"
    shown = [size if isinstance(size, int) else size.value for size in value.shape]
    if len(shown) != len(sizes):
        raise OptionError(
            f"{where}: the input has shape {shown}; expected {len(shown)} sizes, found {len(sizes)}"
        )
    named: dict[str, int] = {}
    new: list[Size] = []
    for has, wants in zip(shown, sizes, strict=True):
        if isinstance(has, int) and wants != has:
            told = "left free" if not isinstance(wants, int) else f"{wants}"
            raise OptionError(
                f"{where}: the network fixes shape {shown}, whose {has} cannot be {told}; give the "
                "sizes that it has, or export it with that axis free"
            )
        if isinstance(has, str) and isinstance(wants, int):
            if named.setdefault(has, wants) != wants:
                raise OptionError(
                    f"{where}: {has!r} is one size in {shown}, but is given as {named[has]} and "
                    f"{wants}; give it once"
                )
        new.append(wants if isinstance(wants, int) or has is None else has)
    value.shape = ir.Shape(new)
    if named:
        _rename(model, named)


def _rename(model: ir.Model, sizes: Mapping[str, Size]) -> None:
    """Put sizes, or other names, in the place of named sizes everywhere."""
    for graph in model.graphs():
        values = {*graph.inputs, *graph.outputs}
        values.update(value for node in graph for value in node.outputs)
        for value in values:
            shape = value.shape
            names = [s.value for s in shape or () if isinstance(s, ir.SymbolicDim)]
            if shape is not None and any(name in sizes for name in names):
                value.shape = ir.Shape(
                    s if isinstance(s, int) else sizes.get(s.value or "", s.value) for s in shape
                )


def _name_images(model: ir.Model, first: ir.Value, others: Sequence[ir.Value]) -> None:
    """Let the images' axis have one name in the first input and in those without images first.

    In an input that leaves one axis open, under whatever name, that is the images'.
    """
    if not first.shape:
        raise ModelError(
            f"input {first.name!r} has no axis for images; bind it too, with --input "
            f"{first.name}=VALUE"
        )
    size = first.shape[0]
    images = size if isinstance(size, int) else size.value or IMAGES
    first.shape = ir.Shape([images, *first.shape[1:]])
    known = {_name(s) for v in model.graph.inputs if v not in others for s in v.shape or ()}
    for value in others:
        sizes = list(value.shape or ())
        free = [i for i, s in enumerate(sizes) if not isinstance(s, int)]
        if len(free) == 1 and _name(sizes[free[0]]) not in known - {None}:
            name = _name(sizes[free[0]])
            if name is not None:
                _rename(model, {name: images})
            value.shape = ir.Shape([images if i == free[0] else s for i, s in enumerate(sizes)])


def _name(size: int | ir.SymbolicDim) -> str | None:
    return None if isinstance(size, int) else size.value


def _places(value: ir.Value, fed: Sequence[ir.Value]) -> dict[int, tuple[ir.Value, int]]:
    """Where the sizes of the free axes are to be had: which axis of which input.

    Raises:
        OptionError: Nowhere.
    """
    found: dict[int, tuple[ir.Value, int]] = {}
    for axis, size in enumerate(value.shape or ()):
        if isinstance(size, int):
            continue
        same = (
            (other, i)
            for other in fed
            for i, s in enumerate(other.shape or ())
            if size.value is not None and _name(s) == size.value
        )
        place = next(same, None)
        if place is None:
            shown = [s if isinstance(s, int) else s.value for s in value.shape or ()]
            raise OptionError(
                f"input {value.name!r} has shape {shown}, whose free sizes no input with images "
                f"has; say them with --shape {value.name}=…"
            )
        found[axis] = place
    return found


def _array(value: ir.Value, text: str, free: Mapping[int, Any], where: str) -> NDArray[np.generic]:
    """The numbers of a constant input, of size 1 along free axes."""
    kind = (value.dtype or ir.DataType.FLOAT).numpy()
    shape = tuple(1 if i in free else int(s) for i, s in enumerate(value.shape or ()))  # pyright: ignore
    if text.endswith(".npy"):
        array = _read(Path(text), where)
        if array.shape != shape:
            raise OptionError(
                f"{where}: the file holds shape {list(array.shape)}; expected {list(shape)}, of "
                "size 1 where the input's axis is free"
            )
    else:
        number: Any = {"zeros": 0, "ones": 1}.get(text, value_of(text))
        if not isinstance(number, int | float):
            raise OptionError(f"{where}: expected zeros, ones, a number or a file FILE.npy")
        array = np.array(number)
    check_room(f"{where}: an array of shape {list(shape)}", math.prod(shape) * kind.itemsize)
    with np.errstate(all="ignore"):
        made = np.broadcast_to(array.astype(kind), shape)
    exact = kind.kind == "f" or np.array_equal(made, np.broadcast_to(array, shape))
    if not (exact and np.isfinite(made).all()):
        raise OptionError(f"{where}: the input is of type {kind.name}, which does not hold that")
    return np.array(made)


def _read(path: Path, where: str) -> NDArray[np.generic]:
    try:
        found = stored_array(lambda: path.open("rb"), path.stat().st_size, path.name)
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: cannot read {str(path)!r}: {error}; give a .npy file") from error
    if found is None or found.dtype.kind not in "fiub":
        raise DataError(f"{where}: {str(path)!r} holds no array of numbers; give a .npy file")
    return found
