"""Arrays read by the simulator's compiled kernel (`nvmc.runtime.crossbar.native`).

Its currents are the simulator's to the bit, also on noisy chips, and everything from a pulse to the
sum of codes stays in a processor's registers. Beside the outputs it says what was clipped, which is
what gradients need.
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
from nvmc.runtime.crossbar.native import KERNELS, NUMPY, Clips
from nvmc.training.circuit.clipped import Clipped
from nvmc.training.circuit.converters import Codes
from nvmc.training.circuit.reading import Reading

__all__ = ["compiled_result", "is_compiled"]


def is_compiled(reading: Reading, codes: Codes) -> bool:
    """Whether the kernel can read the array: in float32 on a processor, no more than its cells."""
    x = codes.values
    built = KERNELS[0] != NUMPY and x.device.type == "cpu" and x.dtype == torch.float32
    plain = reading.watched is None and reading.variance is None and reading.digital is None
    return built and plain


def compiled_result(reading: Reading, codes: Codes) -> tuple[Tensor, Clipped | None]:
    """See `Reading.result`."""
    product, entries = reading.product, len(codes.values)
    source, places, sizes = product.vectors(codes.values)
    columns = (product.matrix.groups, product.matrix.cols)
    if product.channels_last:
        y = torch.empty((entries, *sizes, *columns)).movedim((-2, -1), (1, 2))
    else:
        y = torch.empty((entries, *columns, *sizes))
    held, drive, reader = source.numpy(), _drive(codes), _circuit(reading).reader(ALL)
    out = y.view(entries, *columns, math.prod(sizes)).mT.numpy()
    counted = _counted(reading, codes)
    of_entry = math.prod(out.shape[1:])

    def read(block: slice) -> Clips:
        found = reader.read(held[block], places, drive[block], out[block], clipped=True)
        before = block.start * of_entry
        return [
            (numbers + before, 1 - lost / counted[block][numbers // of_entry])
            for numbers, lost in found
        ]

    found = zip(*_in_threads(read, entries), strict=True)
    clips = [tuple(map(np.concatenate, zip(*tile, strict=True))) for tile in found]
    numbers, kept = zip(*clips, strict=True)
    return y, Clipped.of_numbers(numbers, kept, out.shape)


def _in_threads(read: Callable[[slice], Clips], entries: int) -> list[Clips]:
    """Read some of the entries in each of torch's threads; what each of them found."""
    threads = min(torch.get_num_threads(), entries)
    if threads < 2:
        return [read(slice(0, entries))]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read, spans(entries, -(-entries // threads))))


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


def _counted(reading: Reading, codes: Codes) -> NDArray[np.float32]:
    """What all conversions behind one output of each entry count for."""
    phases = np.where(codes.signed.numpy(), reading.dac.phases, 1)
    weights = sum(map(abs, reading.coefficients)) * sum(reading.dac.weights)
    return (weights * phases).astype(np.float32)


def _drive(codes: Codes) -> Drive:
    entries = len(codes.values)
    offset = np.zeros(entries, np.float32)
    if codes.offset is not None:
        offset = codes.offset.reshape(-1).numpy()
    return Drive(codes.step.reshape(-1).numpy(), offset, codes.signed.numpy())
