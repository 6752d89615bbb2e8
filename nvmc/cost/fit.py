"""A hardware file from a macro's published numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nvmc.cost.band import factor
from nvmc.cost.components import COMPONENTS, Component
from nvmc.cost.hardware import Calibration, Hardware
from nvmc.cost.macros import DIMENSIONS, Macro
from nvmc.cost.mesh import Mesh
from nvmc.cost.quantity import UNITS, Quantity
from nvmc.cost.scaling import Dimension, scale
from nvmc.errors import OptionError

__all__ = ["fit_hardware", "hardware_text"]

_SCALED: dict[str, Dimension] = {
    "energy": "energy",
    "power": "energy",
    "time": "time",
    "area": "area",
}
"""What a quantity measures -> what it is scaled as between nodes; others stay as they are."""


def fit_hardware(
    macros: Sequence[Macro], base: Hardware, name: str, title: str | None = None
) -> Hardware:
    """Hardware whose energy, time and area meet those of a macro.

    The components are the base's, scaled to the macro's node; one factor for each dimension makes
    their sums meet what was published (on average, in the logarithm, where there are several
    points). What was not published keeps the base's.

    Args:
        macros: One chip's points, or several chips of one node.
        base: Where the components come from.
        name: Of the hardware.
        title: What it is, in one line.

    Raises:
        OptionError: There is no macro, or they are of several nodes.
    """
    nodes = {macro.node_nm for macro in macros}
    if len(nodes) != 1:
        raise OptionError(
            f"the macros are of {len(nodes)} nodes; expected those of one node, such as 22 nm"
        )
    node = nodes.pop()
    chips = tuple(dict.fromkeys(macro.chip for macro in macros))
    scaled = _at_node(base, node).model_copy(update={"calibration": Calibration()})
    factors = {dimension: factor(scaled, dimension, macros) for dimension in DIMENSIONS}
    met = [dimension for dimension in DIMENSIONS if factors[dimension] is not None]
    calibration = Calibration(
        macros=chips,
        source=f"so that the published {', '.join(met)} of {', '.join(chips)} are met",
        energy=factors["energy"] or base.calibration.energy,
        time=factors["time"] or base.calibration.time,
        area=factors["area"] or base.calibration.area,
    )
    update = {
        "name": name,
        "title": title or f"{base.name}, fitted to {', '.join(chips)}",
        "source": f"components of {base.name}; {'; '.join(m.source for m in macros)}",
        "calibration": calibration,
    }
    return scaled.model_copy(update=update)


def hardware_text(hardware: Hardware) -> str:
    """The TOML file of hardware, which `parse_hardware` reads again."""
    lines = [f"{key} = {_text(getattr(hardware, key))}" for key in ("name", "title", "source")]
    lines += ["", "[node]", *_quantity_lines(hardware.node), "", "[calibration]"]
    calibration = hardware.calibration
    lines.append(f"macros = [{', '.join(map(_text, calibration.macros))}]")
    lines.append(f"source = {_text(calibration.source)}")
    lines += [f"{key} = {getattr(calibration, key)!r}" for key in DIMENSIONS]
    if hardware.mesh is not None:
        lines += ["", "[mesh]", *_component_lines(hardware.mesh)]
    for name, part in hardware.components.items():
        kinds = {cls: kind for kind, cls in COMPONENTS[name].items()}
        lines += ["", f"[{name}]", f'kind = "{kinds[type(part)]}"', *_component_lines(part)]
    return "\n".join(lines) + "\n"


def _at_node(base: Hardware, node_nm: float) -> Hardware:
    """The same components at another node."""
    old = base.node.si * 1e9
    node = Quantity(value=node_nm, unit="nm", source="that of the macro")
    if old == node_nm:
        return base
    parts = {name: _scaled(part, old, node_nm) for name, part in base.components.items()}
    return base.model_copy(update={"node": node, "components": parts})


def _scaled(part: Component, old: float, new: float) -> Component:
    changed: dict[str, Any] = {}
    for key in type(part).model_fields:
        value: Any = getattr(part, key)
        if not isinstance(value, Quantity):
            continue
        measured = UNITS[value.unit][0]
        if measured == "length":
            changed[key] = Quantity(value=new, unit="nm", source="that of the macro")
        if measured in _SCALED:
            times = scale(_SCALED[measured], old, new, analog=part.analog)
            said = f"{value.source}; scaled from {old:g} to {new:g} nm"
            changed[key] = Quantity(value=value.value * times, unit=value.unit, source=said)
    return part.model_copy(update=changed)


def _component_lines(part: Component | Mesh) -> list[str]:
    lines: list[str] = []
    for key in type(part).model_fields:
        value: Any = getattr(part, key)
        if isinstance(value, Quantity):
            lines.append(f"{key} = {{ {', '.join(_quantity_lines(value))} }}")
        elif value is not None:
            lines.append(f"{key} = {_text(value)}")
    return lines


def _quantity_lines(quantity: Quantity) -> list[str]:
    return [f"{key} = {_text(getattr(quantity, key))}" for key in ("value", "unit", "source")]


def _text(value: Any) -> str:
    """A value in TOML, whose strings, numbers and truths are JSON's."""
    return json.dumps(value, ensure_ascii=False)
