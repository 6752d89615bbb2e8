"""Arrays read by the simulator's compiled kernel (`nvmc.runtime.crossbar.native`).

Its currents are the simulator's to the bit, also on noisy chips, and everything from a pulse to the
sum of codes stays in a processor's registers. Beside the outputs it counts clipped conversions,
which is what gradients need.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nvmc.runtime.crossbar.array import Block, beside
from nvmc.runtime.crossbar.circuit import Circuit
from nvmc.runtime.crossbar.dac import Drive
from nvmc.runtime.crossbar.lowering import spans
from nvmc.runtime.crossbar.mvm import ALL
from nvmc.runtime.crossbar.native import KERNELS, NUMPY
from nvmc.training.circuit.converters import Codes
from nvmc.training.circuit.reading import Reading

__all__ = ["compiled_result", "is_compiled"]

_Numbers = NDArray[np.float32]
_Flags = NDArray[np.bool_]


def is_compiled(reading: Reading, codes: Codes) -> bool:
    """Whether the kernel can read the array: in float32 on a processor, no more than its cells."""
    x = codes.values
    built = KERNELS[0] != NUMPY and x.device.type == "cpu" and x.dtype == torch.float32
    plain = reading.watched is None and reading.variance is None and reading.digital is None
    return built and plain


def compiled_result(reading: Reading, codes: Codes) -> tuple[Tensor, list[Tensor | None]]:
    """See `Reading.result`."""
    product, tiles, entries = reading.product, len(reading.rows), len(codes.values)
    source, places, sizes = product.vectors(codes.values)
    columns = (product.matrix.groups, product.matrix.cols)
    last = product.channels_last
    shape = (entries, *sizes, *columns) if last else (entries, *columns, *sizes)
    y = torch.empty(shape)
    shares = torch.ones((tiles, *shape))
    if last:
        y, shares = y.movedim((-2, -1), (1, 2)), shares.movedim((-2, -1), (2, 3))
    held, drive, reader = source.numpy(), _drive(codes), _circuit(reading).reader(ALL)
    flat = (entries, *columns, math.prod(sizes))
    out, inside = y.view(flat).mT.numpy(), shares.view(tiles, *flat).mT.numpy()
    counted = _counted(reading, codes)

    def read(block: slice) -> _Flags:
        found = np.zeros(tiles, np.bool_)
        into = (inside[:, block], found, counted)
        reader.read(held[block], places, drive[block], out[block], clipped=into)
        return found

    found = _in_threads(read, entries)
    return y, [share if some else None for share, some in zip(shares, found, strict=True)]


def _in_threads(read: Callable[[slice], _Flags], entries: int) -> _Flags:
    """Read some of the entries in each of torch's threads; what any of them found."""
    threads = min(torch.get_num_threads(), entries)
    if threads < 2:
        return read(slice(0, entries))
    with ThreadPoolExecutor(threads) as pool:
        return np.logical_or.reduce(list(pool.map(read, spans(entries, -(-entries // threads)))))


def _circuit(reading: Reading) -> Circuit:
    product = reading.product
    currents = beside(product.matrices(reading.lanes).numpy(), np.float32)
    unit = product.by_column(reading.unit).numpy()
    unit = unit if unit.ndim == 0 else unit.reshape(-1, product.matrix.cols)
    return Circuit(
        [Block(rows, currents[:, rows], None) for rows in reading.rows],
        np.array(reading.coefficients),
        reading.shift,
        np.broadcast_to(unit, (product.matrix.groups, product.matrix.cols)),
        reading.dac,
        reading.adcs,
    )


def _counted(reading: Reading, codes: Codes) -> float:
    """What all conversions behind one output count for."""
    phases = reading.dac.phases if codes.signed else 1
    return sum(map(abs, reading.coefficients)) * phases * sum(reading.dac.weights)


def _drive(codes: Codes) -> Drive:
    entries = len(codes.values)
    offset = np.zeros(entries, np.float32)
    if codes.offset is not None:
        offset = codes.offset.reshape(-1).numpy()
    return Drive(codes.step.reshape(-1).numpy(), offset, np.full(entries, codes.signed))
