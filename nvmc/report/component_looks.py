"""How each component of a chip's cost is drawn, the same in every picture and on every page."""

from __future__ import annotations

__all__ = ["COMPONENT_COLOURS", "component_colours"]

COMPONENT_COLOURS = {
    "array": "#117733",
    "adc": "#d0d0d0",
    "dac": "#999933",
    "driver": "#882255",
    "sample_hold": "#ddcc77",
    "shift_add": "#cc6677",
    "registers": "#444444",
    "buffer": "#88ccee",
    "router": "#aa4499",
    "digital": "#332288",
    "leakage": "#44aa99",
}
"""Component -> colour, in the order in which they are stacked.

Told apart by the colour-blind (Tol, Colour schemes, SRON/EPS/TN/09-002, 2021: scheme `muted`, with
two greys of its own), and in grey: neighbours differ by 20 or more in CIE lightness; where the one
between them is missing, by 15 or more.
"""


def component_colours(names: list[str]) -> dict[str, str]:
    """The colours of components, in the order in which they are stacked.

    Args:
        names: Those that there are.
    """
    return {name: colour for name, colour in COMPONENT_COLOURS.items() if name in names}
