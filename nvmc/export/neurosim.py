"""`neurosim`: the network file and the traces that DNN+NeuroSim V1.4 reads.

Formats as its reader takes them: `NeuroSIM/main.cpp` (getNetStructure and its arguments),
`NeuroSIM/Chip.cpp` (LoadInWeightData, LoadInInputData, and the count of input vectors) and
`utee/hook.py` of github.com/neurosim/DNN_NeuroSim_V1.4, commit ac828e6 of 9 March 2025.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.compiled.operators import PARAMETER
from nvmc.compiled.work import LayerEntry
from nvmc.errors import ModelError, OptionError
from nvmc.export.cells import arrays_by_name
from nvmc.export.folder import file_names
from nvmc.export.layer_shapes import Shape, novel_mapping, pooled_layers, shape_of
from nvmc.export.request import Request, Written
from nvmc.export.traces import codes_of_image
from nvmc.hardware.chip import Array
from nvmc.hardware.devices import Target
from nvmc.hardware.devices.laws import Conductance
from nvmc.hardware.tiling import Matrix, matrices
from nvmc.passes.graph.mappable import nodes_of

__all__ = ["write"]

NETWORK_FILE = "NetWork.csv"
COMMAND_FILE = "trace_command.sh"
_RECURRENT = ("CrossbarGRU", "CrossbarLSTM", "CrossbarRNN")


@dataclass(frozen=True)
class _Row:
    """One layer as NeuroSim counts them: one matrix of one layer."""

    name: str
    layer: LayerEntry
    array: Array
    group: int


def write(request: Request, folder: Path) -> Written:
    """Write `NetWork.csv`, a weight and an input file for each layer, and `trace_command.sh`.

    Raises:
        OptionError: The network has no DAC, analog weights, or something that NeuroSim has not.
        ModelError: Nobody knows how many vectors a layer has.
        DataError: The image does not fit the network.
    """
    arrays = arrays_by_name(request)
    rows = list(_rows(request, arrays))
    model = request.model()
    nodes = {str(node.name): node for node in nodes_of(model)}
    shapes = {
        row.name: shape_of(nodes[row.layer.name], row.layer, row.array, _matrix(row.array))
        for row in rows
    }
    inputs, target = request.compiled.manifest.inputs, request.target
    codes, image = codes_of_image(model, inputs, target, request.options.get("data"))
    bits = _Bits.of([row.array for row in rows])
    pooled, clipped, table = pooled_layers(request.compiled), 0, list[dict[str, Any]]()
    files = file_names(row.name for row in rows)
    with (folder / NETWORK_FILE).open("w", encoding="ascii", newline="\n") as network:
        for row in rows:
            shape, file = shapes[row.name], files[row.name]
            trace = _trace(row, shape, codes)
            numbers = shape.row(row.layer.name in pooled)
            network.write(",".join(map(str, numbers)) + "\n")
            weights, beyond = _weights(request, row, bits)
            clipped += beyond
            _weight_csv(folder / f"weight_{file}.csv", weights)
            _input_csv(folder / f"input_{file}.csv", trace, bits.inputs)
            table.append({"layer": row.layer.name, "array": row.array.name, "group": row.group})
            table[-1] |= {"file": file, "network": numbers}
    settings = _settings(target.device.conductance, rows[0].array.target, bits)
    columns = -(-bits.synapse // bits.cells)
    novel = novel_mapping([entry["network"] for entry in table], columns, rows[0].array.target.rows)
    settings |= {"novelMapping": True if novel is None else novel}
    _command(folder / COMMAND_FILE, settings, bits, list(files.values()), rows[0].array)
    told = {"neurosim": "V1.4", "layers": table, "param": settings, "image": image}
    told |= {"synapse_bits": bits.synapse, "input_bits": bits.inputs}
    line = f"{len(rows)} layers for DNN+NeuroSim V1.4, {request.chip_text},"
    assumptions = list(_assumed(request, rows, bits, image, clipped))
    if novel is None:
        size = rows[0].array.target.rows
        assumptions.append(
            f"NeuroSim stops at this network, as its hierarchy needs wider layers for subarrays of "
            f"{size} rows; compile with fewer --rows"
        )
    return Written([line], assumptions, told)


@dataclass(frozen=True)
class _Bits:
    """Widths that NeuroSim has for the whole network.

    Attributes:
        weights: The widest codes of nvmc, without their sign.
        inputs: Bits of an input with its sign.
        cells: The most bits of a cell.
    """

    weights: int
    inputs: int
    cells: int

    @classmethod
    def of(cls, arrays: list[Array]) -> _Bits:
        targets = [array.target for array in arrays]
        return cls(
            max(target.weight_bits or 0 for target in targets),
            max(target.periphery.dac_bits or 0 for target in targets) + 1,
            max(target.cell_bits for target in targets),
        )

    @property
    def synapse(self) -> int:
        """Bits of a weight with its sign."""
        return self.weights + 1


def _rows(request: Request, arrays: Mapping[str, Array]) -> Iterator[_Row]:
    """The layers that NeuroSim is told of, in the order of the manifest: one for each matrix.

    Raises:
        OptionError: There is what it has not.
    """
    layers = [each for each in request.compiled.manifest.layers if each.op != PARAMETER]
    if not layers:
        raise OptionError("the network has no layer on crossbars, so NeuroSim has nothing to count")
    used = [name for layer in layers for name in layer.arrays]
    for layer in layers:
        if layer.op in _RECURRENT:
            raise OptionError(
                f"layer {layer.name!r} is recurrent, which NeuroSim V1.4 has not; compile with "
                f"--skip {layer.name}"
            )
        for name in layer.arrays:
            array = arrays[name]
            if used.count(name) > 1:
                raise OptionError(
                    f"array {name!r} serves several layers, which NeuroSim V1.4 has not; export "
                    "the source with a weight for each"
                )
            if array.target.weight_bits is None:
                raise OptionError(
                    f"array {name!r} has analog weights, and NeuroSim maps digits; compile with "
                    "--weight-bits 1 to 16"
                )
            if array.target.periphery.dac_bits is None:
                raise OptionError(
                    f"array {name!r} has no DAC, and NeuroSim reads bits of inputs; compile again "
                    "with --dac-bits 1 to 16"
                )
            groups = _matrix(array).groups
            for group in range(groups):
                title = name if groups == 1 else f"{name}.group{group}"
                yield _Row(title, layer, array, group)


def _view(array: Array, tensor: NDArray[Any]) -> NDArray[Any]:
    """A tensor of the weight's shape as matrices, shape (groups, rows, cols)."""
    if array.place is None:
        raise OptionError(f"array {array.name!r} does not say which operator uses it")
    return matrices(array.place, tensor)


def _matrix(array: Array) -> Matrix:
    """How many matrices an array is, and their size."""
    return Matrix(*_view(array, array.codes).shape)


def _trace(row: _Row, shape: Shape, codes: Mapping[str, NDArray[np.int32]]) -> NDArray[np.int32]:
    """Codes of a layer's inputs, shape (rows, vectors).

    Raises:
        ModelError: They are not as many vectors as the layer has.
    """
    found = codes.get(row.array.name)
    count = 0 if found is None else found.shape[1]
    if found is None or count != shape.vectors:
        raise ModelError(
            f"array {row.array.name!r} was driven by {count} vectors of an image, where layer "
            f"{row.layer.name!r} has {shape.vectors}; compile with --shape of the data's sizes"
        )
    return found[row.group].T


def _weights(request: Request, row: _Row, bits: _Bits) -> tuple[NDArray[np.float64], int]:
    """Weights between -1 and 1 - 2^-H, shape (rows, cols), and how many were beyond."""
    array = row.array
    if request.index is None:
        steps = array.steps.astype(np.float64)
    else:
        unit = np.where(array.unit == 0, 1, array.unit).astype(np.float64)
        steps = request.chip.weights(array).astype(np.float64) / unit
    top = 2.0**bits.weights
    found = np.clip(matrix := _view(array, steps)[row.group], -top, top - 1)
    return found / top, int(np.count_nonzero(found != matrix))


def _weight_csv(path: Path, weights: NDArray[np.float64]) -> None:
    """A line for each row of the matrix."""
    lines = (",".join(map(repr, row)) for row in weights.tolist())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def _input_csv(path: Path, codes: NDArray[np.int32], bits: int) -> None:
    """A line for each row; each vector's bits in two's complement, the sign first."""
    places = np.arange(bits - 1, -1, -1)
    found = (codes[:, :, None] >> places) & 1  # of a negative number, two's complement
    rows = found.reshape(len(codes), -1).astype(np.uint8)
    text = np.full((rows.shape[0], 2 * rows.shape[1]), ord(","), np.uint8)
    text[:, 0::2] = rows + ord("0")
    text[:, -1] = ord("\n")
    path.write_bytes(text.tobytes())


def _settings(conductance: Conductance | None, target: Target, bits: _Bits) -> dict[str, Any]:
    """What is to be set in NeuroSim's Param.cpp for the same design."""
    found: dict[str, Any] = {
        "operationmode": 2,
        "memcelltype": 2,
        "cellBit": bits.cells,
        "numColSubArray": target.cols,
        "algoWeightMax": 1,
        "algoWeightMin": -1,
    }
    if target.periphery.adc_bits is not None:
        found["levelOutput"] = 2**target.periphery.adc_bits
    if conductance is not None:
        found["resistanceOn"] = 1e6 / conductance.max_us
        if conductance.min_us > 0:
            found["resistanceOff"] = 1e6 / conductance.min_us
    return found


def _command(
    path: Path, settings: Mapping[str, Any], bits: _Bits, files: list[str], array: Array
) -> None:
    """The command that runs NeuroSim on the files, in their folder."""
    rows = array.target.rows
    together = min(rows, array.target.periphery.rows_on or rows)
    lines = ["#!/bin/sh", "# DNN+NeuroSim V1.4; run in this folder: sh trace_command.sh .../main"]
    for name, value in settings.items():
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        lines.append(f"# Param.cpp: {name} = {text};")
    numbers = f"{bits.synapse} {bits.inputs} {rows} {together}"
    lines.append(f'exec "${{1:?give the path of NeuroSIM/main}}" {NETWORK_FILE} {numbers} \\')
    lines += [f"  weight_{file}.csv input_{file}.csv \\" for file in files]
    path.write_text("\n".join(lines).removesuffix(" \\") + "\n", encoding="ascii")


def _assumed(
    request: Request, rows: list[_Row], bits: _Bits, image: str, clipped: int
) -> Iterator[str]:
    targets = [row.array.target for row in rows]
    yield f"inputs are those of {image}, on the ideal chip, with a sign bit of their own"
    yield (
        "NeuroSim maps weights its own way: each with an offset, in digits of cellBit, without "
        "pairs; cellBit, resistances and ADC are set in its Param.cpp (trace_command.sh says what)"
    )
    if request.index is not None:
        yield (
            f"NeuroSim rounds weights to {bits.synapse} bits: of a chip's errors only what "
            "reaches another code is left"
        )
    if clipped:
        yield f"{clipped} weights of the chip lie beyond the codes of NeuroSim and are clipped"
    if any(target.weight_bits != bits.weights for target in targets):
        yield f"all weights have {bits.synapse} bits, as NeuroSim knows one number for all layers"
    if any((target.periphery.dac_bits or 0) + 1 != bits.inputs for target in targets):
        yield f"all inputs have {bits.inputs} bits, as NeuroSim knows one number for all layers"
    if any(target.cell_bits != bits.cells for target in targets):
        yield f"all cells hold {bits.cells} bits, as NeuroSim knows one number for all layers"
    sizes = {(target.rows, target.cols, target.periphery.rows_on) for target in targets}
    if len(sizes) > 1:
        yield "all subarrays are those of the first layer, as NeuroSim knows one size"
    if len(rows) > len({row.layer.name for row in rows}):
        yield "each group of a grouped layer is a layer of its own, as NeuroSim has no groups"
