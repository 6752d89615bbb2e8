"""How the cores of a chip lie and are wired: a mesh of routers, on one chiplet or several."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nvmc.cost.quantity import Energy, Memory, Rate, Time
from nvmc.hardware.devices.laws import Strict

__all__ = ["Mesh"]

MOST = 65536
"""Cores that a mesh may have: more is a slip of the pen."""

Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]


class Mesh(Strict, frozen=True):
    """A mesh of cores; cores are numbered row by row over all chiplets, from 0.

    A core is what has a buffer of its own; some cores share a router. Bits go along a row first,
    then along a column (dimension-order routing).

    Attributes:
        columns, rows: Cores of one chiplet, side by side and below each other.
        tiles: Crossbars of a core, those of all slices and polarities counted.
        source: Where these numbers are from.
        shared_columns, shared_rows: Cores that share a router, side by side and below each other.
        multicast: Whether a router can send one bit on to several others, so that each link carries
            it once; otherwise each core is sent its own.
        chiplet_columns, chiplet_rows: Chiplets, side by side and below each other.
        buffer: Memory of a core for activations.
        link: Bits a second between two neighbouring routers, each way.
        hop: Time from one router to the next.
        chiplet_link, chiplet_hop: The same between routers of two chiplets.
        chiplet_energy: Of a bit that goes from one chiplet to the next, beside its routers.
    """

    columns: Count
    rows: Count
    tiles: Count
    source: Annotated[str, Field(min_length=3)]
    shared_columns: Count = 1
    shared_rows: Count = 1
    multicast: bool = False
    chiplet_columns: Count = 1
    chiplet_rows: Count = 1
    buffer: Memory
    link: Rate
    hop: Time
    chiplet_link: Rate | None = None
    chiplet_hop: Time | None = None
    chiplet_energy: Energy | None = None

    @model_validator(mode="after")
    def _possible(self) -> Mesh:
        if self.cores > MOST:
            raise ValueError(f"the mesh has {self.cores} cores; expected at most {MOST}")
        for cores, shared in (("columns", "shared_columns"), ("rows", "shared_rows")):
            if getattr(self, cores) % getattr(self, shared):
                raise ValueError(
                    f"{cores} is {getattr(self, cores)}, which {shared} = {getattr(self, shared)} "
                    "does not divide; expected whole routers"
                )
        lacking = [
            key
            for key in ("chiplet_link", "chiplet_hop", "chiplet_energy")
            if getattr(self, key) is None
        ]
        if self.chiplets > 1 and lacking:
            raise ValueError(f"{lacking[0]} is missing; the mesh has {self.chiplets} chiplets")
        for key in ("link", "buffer", "chiplet_link"):
            given = getattr(self, key)
            if given is not None and not given.value:
                raise ValueError(f"{key} is 0; expected more")
        return self

    @property
    def chiplets(self) -> int:
        """Chiplets there are."""
        return self.chiplet_columns * self.chiplet_rows

    @property
    def width(self) -> int:
        """Cores in a row, over all chiplets."""
        return self.columns * self.chiplet_columns

    @property
    def height(self) -> int:
        """Cores in a column, over all chiplets."""
        return self.rows * self.chiplet_rows

    @property
    def cores(self) -> int:
        """All cores."""
        return self.width * self.height

    @property
    def capacity(self) -> int:
        """Crossbars of all cores."""
        return self.cores * self.tiles

    @property
    def router_shape(self) -> tuple[int, int]:
        """Rows and columns of routers, over all chiplets."""
        return self.height // self.shared_rows, self.width // self.shared_columns

    def router(self, core: int) -> tuple[int, int]:
        """Row and column of a core's router."""
        row, column = divmod(core, self.width)
        return row // self.shared_rows, column // self.shared_columns

    def links(self, source: int, sink: int) -> int:
        """Links between the routers of two cores."""
        (r0, c0), (r1, c1) = self.router(source), self.router(sink)
        return abs(r0 - r1) + abs(c0 - c1)

    def hops(self, source: int, sink: int) -> int:
        """Routers that bits pass from one core to another: links + 1; 0 within a core."""
        return 0 if source == sink else self.links(source, sink) + 1

    def edges(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which links lead to another chiplet.

        Returns:
            Between columns c and c + 1 of routers, of length columns - 1; and of rows likewise.
        """
        height, width = self.router_shape
        across = self.columns // self.shared_columns
        down = self.rows // self.shared_rows
        return np.arange(1, width) % across == 0, np.arange(1, height) % down == 0
