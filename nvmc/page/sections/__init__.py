"""The sections of a report, in the order in which they stand on the page.

A section is a file here with one function, from a report to its blocks (none where the report has
nothing for it), and a row of `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nvmc.page.blocks import Block
from nvmc.page.report import Report
from nvmc.page.sections.cite import cite
from nvmc.page.sections.comparison import comparison
from nvmc.page.sections.cost import cost
from nvmc.page.sections.curves import curves
from nvmc.page.sections.distribution import distribution
from nvmc.page.sections.run import run
from nvmc.page.sections.sensitivity import sensitivity
from nvmc.page.sections.tiles import tiles
from nvmc.page.sections.uncertainty import uncertainty
from nvmc.page.sections.verdict import verdict

__all__ = ["SECTIONS"]

SECTIONS: dict[str, tuple[str, Callable[[Report], Iterable[Block]]]] = {
    "verdict": ("Verdict", verdict),
    "run": ("What was run", run),
    "distribution": ("Distribution of the chips", distribution),
    "comparison": ("Comparison on the same chips", comparison),
    "curves": ("Curves", curves),
    "tiles": ("Tile map", tiles),
    "sensitivity": ("Sensitivity: which noise costs what", sensitivity),
    "cost": ("Cost of a chip", cost),
    "uncertainty": ("Uncertainty", uncertainty),
    "cite": ("How to cite", cite),
}
"""Name, which is the section's address on the page -> (heading, what gives its blocks)."""
