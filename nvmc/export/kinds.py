"""Every kind of export, in one table.

A new kind is a file here with `write(request, folder)` and a row of `KINDS`, and a section of
docs/export.md.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of export.

    Attributes:
        name: What `--to` calls it.
        writer: `module:function`. It is called with a `Request` and an empty folder, writes its
            files there, and returns `Written`.
        format: Name and version of what it writes; the version is raised with every change that a
            reader of the version before would notice.
        writes: What that is, for people.
        options: The keys of `ExportOptions` that it takes.
    """

    name: str
    writer: str
    format: str
    writes: str
    options: tuple[str, ...] = ()


_TABLE = (
    Kind(
        "onnx",
        "nvmc.export.onnx:write",
        "nvmc.export.onnx/1",
        "the chip's network in standard ONNX operators, for any compiler",
        ("opset",),
    ),
    Kind(
        "conductance",
        "nvmc.export.conductance:write",
        "nvmc.export.conductance/1",
        "what the cells of each tile conduct, in µS, as NPZ and CSV",
        ("array", "range_us"),
    ),
    Kind(
        "spice",
        "nvmc.export.spice:write",
        "nvmc.export.spice/1",
        "a netlist for each tile, for ngspice and its like",
        ("array", "range_us", "volts"),
    ),
    Kind(
        "neurosim",
        "nvmc.export.neurosim:write",
        "nvmc.export.neurosim/1",
        "network file, weights and input traces for DNN+NeuroSim V1.4",
        ("data",),
    ),
    Kind(
        "schedule",
        "nvmc.export.schedule.write:write",
        "nvmc.export.schedule/1",
        "an instruction stream with meta-operators, and the tiles' codes",
        ("placement",),
    ),
    Kind(
        "mlir",
        "nvmc.export.mlir.write:write",
        "nvmc.export.mlir/1",
        "text of MLIR: linalg, tensor, and a dialect cim for tiles",
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}
if len(KINDS) != len(_TABLE):
    raise RuntimeError("two rows of nvmc.export.kinds share a name")
