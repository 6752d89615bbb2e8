"""A circuit of the comparison, what is put into it, and how the two tools differ in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTES", "Case", "Real", "codes_of", "inputs_of"]

Real = NDArray[np.float64]
Encoding = Literal["differential", "sign-magnitude", "balanced", "offset"]

ROWS, COLS, VECTORS = 26, 5, 3
UNIT = 2.0**-6
"""Network units in a code step."""

NOTES = {
    "level 1": "its offset arrays leave the lowest level unused, ours the highest, so its currents "
    "are higher by a level step times the sum of the inputs",
    "scale": "its offset core of one cell squeezes 2^B - 1 steps into 2^B - 2, but scales outputs "
    "as if it did not: they are short by 1/(2^B - 1)",
    "unit column": "its unit column holds half of a full top slice, also where weights do not fill "
    "that slice, and subtracts too much",
    "each limit": "its columns saturate before polarities are subtracted, ours after",
    "middle": "its reference column lies at the middle level, ours at level 0",
    "halves": "its two-sided pairs round (t + d)/2 to the even level, in float32; ours round down",
    "half codes": "its kinds of ADC count half steps around no current, ours whole steps",
    "shifted ties": "it rounds codes counted from the lowest, so that ties go the other way",
    "evenly divisible": "it splits rows evenly where their number allows that, also where it says "
    "that tiles are filled",
    "uneven": "its even split rounds rows/tiles, and the last tile gets the rest, which may be "
    "more than a tile holds",
    "one node": "the cells of its interleaved pairs meet in one node of the bit line; here a "
    "segment lies between them",
    "no zero": "its quantizer of both signs has 2^A codes and none for no current",
    "first driver": "it puts the drivers' resistance into every segment of the first word line",
}
"""How CrossSim differs, by the names that rows of the table have."""


@dataclass(frozen=True)
class Case:
    """One circuit.

    Attributes:
        encoding: As of nvmc.
        bits: H, of weights' magnitudes.
        cell: B, of cells.
        rows: Of a tile.
        even: Whether rows are split evenly.
        dac: Bits of inputs, or None.
        serial: Whether inputs come bit by bit.
        signed: Whether inputs have both signs.
        adc: Bits of outputs, or None.
        reach: The range, as a share of the largest current that there could be.
        lowest: The lower end of the range, as a share of the upper; None for the usual.
        digital: Whether polarities are subtracted behind the ADC.
        ratio: On/off ratio.
        limit: Where columns saturate, as a share of the largest current; None for nowhere.
        column: Whether there is a reference column.
        kind: Of the ADC.
        wires: Ohm of row, col, driver and sense; cells of up to 100 µS.
        opposed: Whether polarities lie on neighbouring word lines of opposite voltages.
        read_v: Where cells are cubic.
        bipolar: Whether inputs of both signs are converted at once.
        slice_bits: Of inputs that come bit by bit.
        held: Whether the currents of such slices are added up and converted once.
        net: Whether CrossSim's columns saturate after the subtraction (interleaved).
        ties: Whether inputs are halves, exactly between two codes of the DAC; without a DAC those
            of the ADC are powers of two.
        seed: Of weights and inputs.
    """

    encoding: Encoding = "differential"
    bits: int = 4
    cell: int = 2
    rows: int = ROWS
    even: bool = False
    dac: int | None = None
    serial: bool = False
    signed: bool = False
    adc: int | None = None
    reach: float = 0.31
    lowest: float | None = None
    digital: bool = False
    ratio: float = np.inf
    limit: float | None = None
    column: bool = False
    kind: str = "ideal"
    wires: tuple[float, float, float, float] | None = None
    opposed: bool = False
    read_v: float | None = None
    bipolar: bool = False
    slice_bits: int = 1
    held: bool = False
    net: bool = True
    ties: bool = False
    seed: int = 0

    @property
    def slices(self) -> int:
        """Cells of a weight, one polarity."""
        return -(-(self.bits + (self.encoding == "offset")) // self.cell)

    @property
    def top(self) -> int:
        """The highest level of a cell."""
        return 2**self.cell - 1

    @property
    def off(self) -> float:
        """What level 0 conducts, in level steps."""
        return self.top / (self.ratio - 1)

    @property
    def pulse(self) -> float:
        """The most that a pulse puts on a row, in input steps."""
        if self.dac is None:
            return 1.0
        return 2.0 ** (self.slice_bits if self.serial else self.dac) - 1

    @property
    def largest(self) -> float:
        """The most that a conversion is about, in input steps."""
        return 2.0**self.dac - 1 if self.held and self.dac else self.pulse

    @property
    def most(self) -> float:
        """Where columns saturate, in level steps x input steps."""
        share = np.inf if self.limit is None else self.limit
        return share * min(self.rows, ROWS) * self.top * self.pulse

    @property
    def full(self) -> float:
        """The upper end of the ADC's range, in level steps x input steps."""
        if self.ties and self.adc is not None:
            return 2.0 ** (self.adc - self.signed_current) - 1
        return self.reach * self.highest

    @property
    def highest(self) -> float:
        """What the cells of a full tile could conduct, in level steps x input steps."""
        return min(self.rows, ROWS) * self.top * self.largest

    @property
    def signed_current(self) -> bool:
        """Whether currents of both signs arrive at the ADC."""
        return self.bipolar or (self.encoding != "offset" and not self.digital)

    def tiles(self, theirs: bool) -> list[int]:
        """Rows on each row of tiles, by CrossSim's rule or by ours."""
        tiles = -(-ROWS // self.rows)
        if theirs and (self.even or ROWS % tiles == 0):
            share = int(np.round(ROWS / tiles))
            return [share] * (tiles - 1) + [ROWS - share * (tiles - 1)]
        if self.even:
            return [ROWS // tiles + (n < ROWS % tiles) for n in range(tiles)]
        return [min(self.rows, ROWS - n * self.rows) for n in range(tiles)]

    @property
    def notes(self) -> Iterator[str]:
        """Which of `NOTES` change CrossSim's numbers."""
        analog = self.adc is not None or self.limit is not None
        physical = self.wires is not None or self.read_v is not None
        wired = self.wires is not None
        if self.encoding == "offset" and not self.column and (analog or physical):
            yield "level 1"
        if self.encoding == "offset" and self.slices == 1:
            yield "scale"
        if self.column and (analog or physical):
            yield "middle"
        if self.column and (self.bits + 1) % self.cell:
            yield "unit column"
        pairs = self.encoding != "offset" and not self.digital
        if self.limit is not None and pairs and not self.net:
            yield "each limit"
        if self.encoding == "balanced" and ((analog and self.digital) or physical):
            yield "halves"
        if self.kind != "ideal":
            yield "half codes"
        if self.ties and (self.bipolar or (self.adc is not None and self.signed_current)):
            yield "shifted ties"
        if self.adc is not None and self.lowest is not None and not self.zero:
            yield "no zero"
        if (analog or wired) and self.tiles(theirs=True) != self.tiles(theirs=False):
            yield "uneven" if self.even else "evenly divisible"
        if self.opposed:
            yield "one node"
        if self.wires is not None and self.wires[2] > 0:
            yield "first driver"

    @property
    def zero(self) -> bool:
        """Whether no current is one of the codes of a range with a lower end of its own."""
        if self.lowest is None or self.adc is None:
            return True
        codes = (2**self.adc - 1) * -self.lowest / (1 - self.lowest)
        return abs(codes - round(codes)) < 1e-9

    def __str__(self) -> str:
        """What differs from the defaults, shortly."""
        plain = Case()
        parts = [self.encoding, f"H{self.bits} B{self.cell}"]
        for name in self.__dataclass_fields__:
            value: Any = getattr(self, name)
            if name not in ("encoding", "bits", "cell", "seed") and value != getattr(plain, name):
                parts.append(name if value is True else f"{name} {value}")
        return ", ".join(parts)


def codes_of(case: Case) -> NDArray[np.int64]:
    """Whole weights, shape (rows, cols), the largest among them."""
    top = 2**case.bits - 1
    codes = np.random.default_rng(case.seed).integers(-top, top + 1, (ROWS, COLS))
    codes[0] = top
    return codes


def inputs_of(case: Case) -> Real:
    """Input vectors, shape (vectors, rows), each with a 1."""
    rng = np.random.default_rng(case.seed + 1)
    x = rng.random((VECTORS, ROWS)) * (rng.random((VECTORS, ROWS)) < 0.8)
    if case.ties:
        x = rng.choice([0.0, 0.5, 1.0], x.shape)
    if case.signed:
        x *= rng.choice([-1.0, 1.0], x.shape)
    x[:, 3] = 1.0
    return x
