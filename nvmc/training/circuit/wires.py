"""The resistance of wires in training: exact circuits now and then, their losses held in between.

A tile behind wires is another matrix (`nvmc.runtime.crossbar.parasitics`), which takes as long to
find as many steps take. Training solves the tiles of a chip exactly once in a while. Until the next
time each cell keeps the share of its conductance that the foot of its column saw then; what reaches
a column through cells that do not conduct themselves (sneak paths) counts only where it is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nvmc.hardware.devices import Target
from nvmc.hardware.tiling import Place, matrices
from nvmc.runtime.crossbar.array import through_wires

__all__ = ["Wires"]


class Wires:
    """The wires of one array.

    Args:
        target: The cells and their wires.
        place: How the layer uses its weight.

    Raises:
        OptionError: The device states no conductance.
    """

    def __init__(self, target: Target, place: Place) -> None:
        self._target = target
        self._place = place
        self._shares: list[Tensor] = []
        self._solutions: list[Tensor] = []
        self._at = 0
        self._solves = self._same = False

    def begin(self, solves: bool, same: bool = False) -> None:
        """Say that the polarities of a chip come next.

        Args:
            solves: Whether their tiles are solved.
            same: Whether it is the very chip that was solved last.
        """
        self._at, self._solves, self._same = 0, solves, same
        if solves:
            self._shares, self._solutions = [], []

    def seen(self, levels: Tensor, formed: Tensor) -> Tensor:
        """Levels of one polarity as the foot of the columns sees them; see `through_wires`.

        Args:
            levels: Shape (slices, *shape of the weight), in level steps.
            formed: Which cells exist, of the weight's shape.
        """
        off = self._target.off_level * formed
        conducted = (levels + self._target.off_level) * formed
        if self._solves:
            solved = self._solved(levels, formed)
            share = (solved + off) / torch.where(conducted == 0, 1.0, conducted)
            self._shares.append(torch.where(conducted == 0, 0.0, share))
            self._solutions.append(solved)
            return solved
        number, self._at = self._at, self._at + 1
        return self._solutions[number] if self._same else conducted * self._shares[number] - off

    def _solved(self, levels: Tensor, formed: Tensor) -> Tensor:
        host = levels.cpu()
        views = [matrices(self._place, plane.contiguous()) for plane in host]
        cells = matrices(self._place, formed.cpu().contiguous())
        found = through_wires(self._target, torch.stack(views).numpy(), cells.numpy())
        result = torch.empty_like(host)
        for plane, matrix in zip(result, torch.from_numpy(found), strict=True):
            matrices(self._place, plane)[...] = matrix
        return result.to(levels)
