"""Designs as compiled networks with their costs: in a folder, so that none is made twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nvmc import __version__
from nvmc.compiled.artifact import Compiled, open_compiled
from nvmc.compiler import compile_model
from nvmc.cost.estimate import estimate_cost
from nvmc.cost.hardware import Hardware
from nvmc.data import Data, Dataset
from nvmc.errors import ArtifactError, HardwareError, NvmcError, OptionError, OutOfMemoryError
from nvmc.explore.front import Figures, figures_of
from nvmc.explore.space import Design
from nvmc.hardware.devices import Target

__all__ = ["Builder", "Built", "refusal_of"]

DESIGNS = "designs"
"""Folder of the compiled networks, in that of an exploration."""


@dataclass(frozen=True)
class Built:
    """A design that can be.

    Attributes:
        design: It.
        compiled: The network.
        costs: By hardware; None where that hardware cannot say.
        assumptions: What the deciding hardware's figures assume.
    """

    design: Design
    compiled: Compiled
    costs: Mapping[str, Figures | None]
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Builder:
    """Compiles designs of one network.

    Attributes:
        model: An ONNX file.
        folder: Where compiled networks are kept.
        data: What calibrates them; None where nothing is to be calibrated.
        images: The same, loaded; it names the data.
        hardware: What costs are asked of, the deciding one first.
    """

    model: Path
    folder: Path
    data: Data | None
    images: Dataset | None
    hardware: Sequence[Hardware]

    def build(self, design: Design) -> Built:
        """A design, compiled or found as it was compiled before.

        Raises:
            NvmcError: It cannot be, or the deciding hardware cannot say what it costs.
        """
        _check_converters(design.target())
        compiled = self._compiled(design)
        first, *others = self.hardware
        cost = estimate_cost(compiled, first)
        costs: dict[str, Figures | None] = {first.name: figures_of(cost)}
        for one in others:
            try:
                costs[one.name] = figures_of(estimate_cost(compiled, one))
            except (HardwareError, OptionError):
                costs[one.name] = None
        return Built(design, compiled, costs, cost.assumptions)

    def _compiled(self, design: Design) -> Compiled:
        target, options, source = design.target(), design.options(), design.source(self.model)
        try:
            digest = hashlib.sha256(source.read_bytes())
        except OSError as error:
            raise ArtifactError(f"cannot read {str(source)!r}: {error.strerror}") from error
        told = {
            "nvmc": __version__,
            "target": target.model_dump(mode="json"),
            "options": asdict(options),
            "data": None if self.images is None else self.images.sha256,
        }
        digest.update(json.dumps(told, sort_keys=True).encode())
        folder = self.folder / DESIGNS / f"{digest.hexdigest()[:16]}.nvmc"
        if folder.is_dir():
            try:
                return open_compiled(folder)
            except ArtifactError:
                pass  # half of it, or of an older format: compiled anew
        folder.parent.mkdir(parents=True, exist_ok=True)
        return compile_model(source, target, options, output=folder, data=self.data)


def refusal_of(error: NvmcError) -> str:
    """Why a design cannot be, in a line.

    Raises:
        OutOfMemoryError: That is no fault of the design.
    """
    if isinstance(error, OutOfMemoryError):
        raise error
    return str(error)


def _check_converters(target: Target) -> None:
    """Complain, before it is compiled, of a design whose converters cannot be counted."""
    given = target.periphery
    lacking = [name for name in ("dac_bits", "adc_bits") if getattr(given, name) is None]
    if lacking and not target.layers:
        raise OptionError(
            f"it has no {' and no '.join(name[:3].upper() for name in lacking)}, so its converters "
            f"cannot be counted; give the space {' and '.join(lacking)} (1 to 16)"
        )
