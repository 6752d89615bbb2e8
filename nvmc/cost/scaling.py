"""From one technology node to another, at nominal supplies.

Source: A. Stillmaker and B. Baas, Scaling equations for the accurate prediction of CMOS device
performance from 180 nm to 7 nm, Integration 58, 74-81, 2017: the quadratic fits of energy against
supply voltage and the cubic fits of delay, high-performance devices from 45 nm on, and the table of
areas. Between two nodes the logarithm is linear in the logarithm of the node, which is our choice.

The fits are of digital gates. What is analog is limited by noise, which asks for the same
capacitors at every node: its energy goes with the square of the supply, its time stays, its area
goes with the node. That is a rule of thumb of ours; published macros follow it better than the
digital one (docs/cost.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from nvmc.errors import OptionError

__all__ = ["NODES", "Dimension", "scale"]

Dimension = Literal["energy", "time", "area"]

NODES: dict[float, tuple[float, tuple[float, float, float], tuple[float, ...], float]] = {
    180: (1.8, (0, 24.64, -17.98), (0, 97.09, -356.7, 406.5), 2.9),
    130: (1.3, (7.171, -6.709, 2.904), (-76.65, 334.9, -493.4, 275.8), 1.0),
    90: (1.2, (4.762, -4.781, 2.092), (-60.34, 262.5, -384.2, 210.9), 0.44),
    65: (1.1, (3.755, -4.398, 1.975), (-53.3, 230.4, -333.9, 178.6), 0.23),
    45: (1.0, (1.018, -0.3107, 0.1539), (-501.6, 1567, -1619, 566.1), 0.16),
    32: (0.9, (0.8367, -0.4341, 0.1701), (-1047, 2982, -2797, 873.5), 0.072),
    20: (0.9, (0.373, -0.1582, 0.04104), (0, 34.63, -66.37, 41.15), 0.033),
    16: (0.85, (0.2958, -0.1241, 0.03024), (0, 24.8, -47.52, 28.87), 0.03),
    14: (0.8, (0.2363, -0.09675, 0.02239), (-40.66, 109.2, -100.6, 35.92), 0.027),
    10: (0.75, (0.2068, -0.09311, 0.02375), (-34.95, 93.65, -85.99, 30.4), 0.016),
    7: (0.7, (0.1776, -0.09097, 0.02447), (-28.58, 76.6, -70.26, 24.69), 0.0092),
}
"""Node in nm -> nominal supply in V, coefficients of the energy (of V^2, V, 1) and of the delay
(of V^3 ... 1) in their own units, and area in units of that at 130 nm."""


def _digital(node: float, dimension: Dimension) -> float:
    supply, energy, delay, area = NODES[node]
    if dimension == "area":
        return area
    terms = energy if dimension == "energy" else delay
    return sum(c * supply**power for power, c in enumerate(reversed(terms)))


def scale(dimension: Dimension, from_nm: float, to_nm: float, *, analog: bool) -> float:
    """The factor from one node to another.

    Args:
        dimension: Of the number that is scaled.
        from_nm: The node that it is of.
        to_nm: The node that it is wanted for.
        analog: Whether it is of an analog component.

    Raises:
        OptionError: A node lies outside 7 to 180 nm.
    """
    of = _analog if analog else _digital

    def log(nm: float) -> float:
        return _between(nm, lambda node: math.log(of(node, dimension)))

    return math.exp(log(to_nm) - log(from_nm))


def _analog(node: float, dimension: Dimension) -> float:
    supply = NODES[node][0]
    return {"energy": supply**2, "time": 1.0, "area": node}[dimension]


def _between(nm: float, value: Callable[[float], float]) -> float:
    """A function of nodes, linear in the logarithm of the node between two of them."""
    nodes = sorted(NODES)
    if not nodes[0] <= nm <= nodes[-1]:
        raise OptionError(f"node is {nm:g} nm; expected {nodes[0]:g} to {nodes[-1]:g} nm")
    if nm in NODES:
        return value(nm)
    low, high = next((a, b) for a, b in pairwise(nodes) if a < nm < b)
    share = math.log(nm / low) / math.log(high / low)
    return value(low) * (1 - share) + value(high) * share
