"""`nvmc compile --from front.csv#3`: the design of a row of an exploration's table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvmc.compiled.options import CompileOptions
from nvmc.errors import OptionError
from nvmc.hardware.devices import Target

__all__ = ["chosen_design"]


def chosen_design(
    text: str, model: Path, options: Mapping[str, Any]
) -> tuple[Path, Target, CompileOptions]:
    """The network, the cells and how it is compiled, as a row of a table states them.

    Args:
        text: As after `--from`.
        model: The network as typed.
        options: Everything else that was typed that says how a network is compiled.

    Raises:
        OptionError: Some of that stands beside the design, or it is no such row.
        ArtifactError, DeviceError: A file is missing or wrong.
    """
    from nvmc.explore.from_table import design_from  # nothing else of compile needs it

    given = [name for name, value in options.items() if value not in (None, (), [], False)]
    if given:
        word = given[0].replace("_", "-")
        raise OptionError(
            f"--{word} is given beside --from {text!r}, whose design states everything; leave one "
            "of the two out"
        )
    design = design_from(text)
    return design.source(model), design.target(), design.options()
