"""What quantisation costs: of every weight, and of the network as a whole against its source."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nvmc.compiled.work import Entry

__all__ = ["SEEDED", "AgainstSource", "Outliers", "Rounding"]

Share = Annotated[float, Field(ge=0, le=1)]
Least = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]

SEEDED = "seeded inputs"
"""What images are called that are drawn."""


class Rounding(Entry):
    """What rounding a weight to its codes changed.

    Attributes:
        error: |W - s q| / |W|, Euclidean norms over the whole weight; 0 where all of it is 0.
        binary: Whether all weights of each output channel had one magnitude in the source.
        channels: Output channels.
        zeroed: Channels whose codes are all 0, though not all of their weights were.
        zeros: Weights of 0 that one bit, which has no zero, holds as +s.
    """

    error: Least
    binary: bool
    channels: Count
    zeroed: Count
    zeros: Count


class Outliers(Entry):
    """What the largest magnitudes of a weight cost all the others (docs/compile.md).

    Attributes:
        peak: max|W| in standard deviations of W; 0 where all weights are alike.
        error: Expected error of the weights on a chip at the device's own strength of noise, root
            of the sum of squares over |W|, as they are compiled.
        best: The same, clipped where it is least (`--clip auto`).
    """

    peak: Least
    error: Least
    best: Least


class AgainstSource(Entry):
    """The ideal chip compared with the network that was compiled, in onnxruntime both.

    Attributes:
        output: The output that was compared.
        data: The images: `seeded inputs`, or a data set's name.
        images: How many.
        agreement: Share of decisions that are the same, in [0, 1]; null where outputs are no scores
            of at least two classes, or no classes.
        r2: Coefficient of determination of the ideal chip's outputs against the source's, not
            floored; null where outputs are classes, not finite, or all images' are the same.
        reason: Why nothing was compared; empty where it was.
    """

    output: str
    data: str
    images: Count = 0
    agreement: Share | None = None
    r2: Annotated[float, Field(le=1)] | None = None
    reason: str = ""

    @property
    def low(self) -> bool:
        """Whether the ideal chip is another network than the source, for most purposes.

        R² below 0.9, or agreement below 90 %. Seeded inputs have narrow classes, so that agreement
        counts only without R²; and their outputs may hardly differ, which makes R² small: then 98 %
        agreement will do.
        """
        if self.data == SEEDED and self.r2 is not None:
            return self.r2 < 0.9 and (self.agreement is None or self.agreement < 0.98)
        if self.r2 is not None and self.r2 < 0.9:
            return True
        return self.agreement is not None and self.agreement < 0.9

    def __str__(self) -> str:
        """In a line, for people."""
        told = [
            *([] if self.agreement is None else [f"agreement {100 * self.agreement:.2f} %"]),
            *([] if self.r2 is None else [f"R² {self.r2:.4f}"]),
        ]
        return ", ".join(told) or f"not compared: {self.reason}"
