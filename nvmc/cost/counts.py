"""What is counted: the events of one layer for one image, and how tiles are used."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["Counts", "Use"]


@dataclass(frozen=True)
class Use:
    """How the tiles of a network, or of a macro, are used.

    Attributes:
        rows, cols: Word lines and bit lines of a tile.
        pulse_bits: Bits that one pulse puts on a row: those of a slice where codes are bit-serial.
        dac_bits: Bits of an input code.
        adc_bits: Bits of an output code.
        adcs: Converters of a tile; None where the hardware file says how many columns share one.
        held: Pulses whose currents are added up before they are converted.
    """

    rows: int
    cols: int
    pulse_bits: int
    dac_bits: int
    adc_bits: int
    adcs: int | None = None
    held: int = 1


@dataclass(frozen=True)
class Counts:
    """Events for one image. Numbers are means where they depend on the image.

    Attributes:
        tiles: Crossbars, of all planes and polarities.
        readers: Groups of converters: one for each tile, or for each pair of polarities where
            these are subtracted before the ADC.
        vectors: Input vectors that follow one another through the tiles.
        pulses: Pulses of one vector, each as often as some rows are driven while others wait.
        columns: Columns that the converters of one tile have to convert after a pulse, the most of
            any tile.
        drives: Rows that get a pulse, over all tiles, vectors and pulses; those at 0 included.
        active: Those of them that are not at 0.
        conversions: Over all tiles, vectors, lanes and pulses that are converted.
        additions: Shift-and-adds.
        width: Bits of what they add up.
        linear_s: Sum over vectors, pulses and cells of drive x conductance in siemens, the drive
            as a fraction of the largest.
        squared_s: The same with the drive squared.
        read_bits, written_bits: From and into buffers.
        moved_bits: Through the network on chip, times hops.
        operations: Of digital units, beside multiply-adds.
        multiply_adds: Of digital units.
    """

    tiles: int = 0
    readers: float = 0
    vectors: float = 0
    pulses: float = 0
    columns: int = 0
    drives: float = 0
    active: float = 0
    conversions: float = 0
    additions: float = 0
    width: int = 0
    linear_s: float = 0.0
    squared_s: float = 0.0
    read_bits: float = 0
    written_bits: float = 0
    moved_bits: float = 0
    operations: float = 0
    multiply_adds: float = 0

    def beside(self, other: Counts) -> Counts:
        """Both, where two arrays work on the same vectors at the same time."""
        most = {"vectors", "pulses", "columns", "width"}
        values = {
            f.name: max(getattr(self, f.name), getattr(other, f.name))
            if f.name in most
            else getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
        }
        return replace(self, **values)
