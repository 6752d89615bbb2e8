"""nvmc: deploy neural networks on non-volatile-memory compute-in-memory crossbars.

ONNX in, ONNX out. Importing this package is quick: what a name needs is loaded when the name is
first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes time to load, during which Ctrl-C shows a traceback

if TYPE_CHECKING:
    from typing import Any

    from nvmc.compiled.artifact import Compiled, find_compiled, open_compiled
    from nvmc.compiled.options import CompileOptions
    from nvmc.compiler import compile_model, transform_model
    from nvmc.compiler import compile_model as compile
    from nvmc.compiler import transform_model as transform
    from nvmc.cost.estimate import estimate_cost
    from nvmc.cost.hardware import Hardware, load_hardware
    from nvmc.cost.result import Cost
    from nvmc.cost.schedule import Schedule
    from nvmc.data import Dataset, load_data
    from nvmc.errors import NvmcError
    from nvmc.evaluation.chip_file import program_chip
    from nvmc.evaluation.compare import compare
    from nvmc.evaluation.comparison import Comparison
    from nvmc.evaluation.inspection import Inspection, inspect
    from nvmc.evaluation.result import Simulation
    from nvmc.evaluation.sensitivity import sensitivity
    from nvmc.evaluation.simulation import simulate
    from nvmc.evaluation.solve import Solution, solve
    from nvmc.evaluation.sweep import Sweep, sweep
    from nvmc.evaluation.uncertainty import uncertainty
    from nvmc.explore.explore import explore_designs
    from nvmc.explore.result import Exploration
    from nvmc.export.network import export_network
    from nvmc.hardware.chip import Chip
    from nvmc.hardware.devices import (
        Device,
        LayerTarget,
        Settings,
        Target,
        load_device,
        make_target,
    )
    from nvmc.models.library import export_model, model
    from nvmc.page.make import make_report
    from nvmc.page.report import Report
    from nvmc.page.tile_map import TileMap, tile_map
    from nvmc.place.place import place_network
    from nvmc.runtime.memory import memory_limit
    from nvmc.runtime.provider import make_session, register_provider
    from nvmc.training.api import Trained
    from nvmc.training.api import train_network as train

__version__ = "0.1.0"

__all__ = [
    "Chip",
    "Comparison",
    "CompileOptions",
    "Compiled",
    "Cost",
    "Dataset",
    "Device",
    "Exploration",
    "Hardware",
    "Inspection",
    "LayerTarget",
    "NvmcError",
    "Report",
    "Schedule",
    "Settings",
    "Simulation",
    "Solution",
    "Sweep",
    "Target",
    "TileMap",
    "Trained",
    "__version__",
    "compare",
    "compile",
    "compile_model",
    "estimate_cost",
    "explore_designs",
    "export_model",
    "export_network",
    "find_compiled",
    "inspect",
    "load_data",
    "load_device",
    "load_hardware",
    "make_report",
    "make_session",
    "make_target",
    "memory_limit",
    "model",
    "open_compiled",
    "place_network",
    "program_chip",
    "register_provider",
    "sensitivity",
    "simulate",
    "solve",
    "sweep",
    "tile_map",
    "train",
    "transform",
    "transform_model",
    "uncertainty",
]

_HOMES = {
    "Chip": "nvmc.hardware.chip",
    "Comparison": "nvmc.evaluation.comparison",
    "CompileOptions": "nvmc.compiled.options",
    "Compiled": "nvmc.compiled.artifact",
    "Cost": "nvmc.cost.result",
    "Dataset": "nvmc.data",
    "Device": "nvmc.hardware.devices",
    "Exploration": "nvmc.explore.result",
    "Hardware": "nvmc.cost.hardware",
    "Inspection": "nvmc.evaluation.inspection",
    "LayerTarget": "nvmc.hardware.devices",
    "NvmcError": "nvmc.errors",
    "Report": "nvmc.page.report",
    "Schedule": "nvmc.cost.schedule",
    "Settings": "nvmc.hardware.devices",
    "Simulation": "nvmc.evaluation.result",
    "Solution": "nvmc.evaluation.solve",
    "Sweep": "nvmc.evaluation.sweep",
    "Target": "nvmc.hardware.devices",
    "TileMap": "nvmc.page.tile_map",
    "compare": "nvmc.evaluation.compare",
    "Trained": "nvmc.training.api",
    "compile": "nvmc.compiler:compile_model",
    "compile_model": "nvmc.compiler",
    "estimate_cost": "nvmc.cost.estimate",
    "explore_designs": "nvmc.explore.explore",
    "export_model": "nvmc.models.library",
    "export_network": "nvmc.export.network",
    "find_compiled": "nvmc.compiled.artifact",
    "inspect": "nvmc.evaluation.inspection",
    "load_data": "nvmc.data",
    "load_device": "nvmc.hardware.devices",
    "load_hardware": "nvmc.cost.hardware",
    "make_report": "nvmc.page.make",
    "make_session": "nvmc.runtime.provider",
    "make_target": "nvmc.hardware.devices",
    "memory_limit": "nvmc.runtime.memory",
    "model": "nvmc.models.library",
    "open_compiled": "nvmc.compiled.artifact",
    "place_network": "nvmc.place.place",
    "program_chip": "nvmc.evaluation.chip_file",
    "register_provider": "nvmc.runtime.provider",
    "sensitivity": "nvmc.evaluation.sensitivity",
    "simulate": "nvmc.evaluation.simulation",
    "solve": "nvmc.evaluation.solve",
    "sweep": "nvmc.evaluation.sweep",
    "tile_map": "nvmc.page.tile_map",
    "train": "nvmc.training.api:train_network",
    "transform": "nvmc.compiler:transform_model",
    "transform_model": "nvmc.compiler",
    "uncertainty": "nvmc.evaluation.uncertainty",
}
"""Name -> module, with the name there where it is another."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nvmc' has no attribute {name!r}")
    import importlib

    module, _, inside = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), inside or name)
