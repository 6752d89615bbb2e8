"""What results were made from: content of the data, version of what trains networks."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from nvmc.compiled.artifact import replacing_file
from nvmc.data import Split, has_split, load_data
from nvmc.errors import OptionError
from nvmc.models.recipes import RECIPE
from nvmc.reproduce.plan import Plan, quick_training

__all__ = ["FILE", "check_origin"]

FILE = "origin.json"
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def check_origin(plan: Plan) -> None:
    """Note what the plan's results are made from, in `origin.json` beside them; or compare.

    Reads all of the data.

    Raises:
        DataError: The data cannot be read.
        OptionError: Results that are there were made from other data, by another recipe or version
            of torch, or nobody knows from what.
    """
    folder = plan.folder
    path, now = folder / FILE, _origin(plan)
    if not path.exists():
        if any(cell.found.exists() or cell.training.exists() for cell in plan.cells):
            _refuse(folder, "of an nvmc that did not note their data and recipe")
        folder.mkdir(parents=True, exist_ok=True)
        with replacing_file(path) as temporary:
            temporary.write_text(json.dumps(now, indent=1) + "\n")
        return
    there = _noted(path)
    told = [
        f"{what} ({_short(there.get(what))} there, {_short(now[what])} now)"
        for what in now
        if there.get(what) != now[what]
    ]
    if told:
        _refuse(folder, f"made with other {', '.join(told)}")


def _refuse(folder: Path, why: str) -> None:
    raise OptionError(
        f"{folder} holds results {why}, which are not mixed with new ones; give another --folder, "
        "or remove that one"
    )


def _noted(path: Path) -> dict[str, Any]:
    """What the file says; nothing where it is damaged."""
    try:
        found: Any = json.loads(path.read_text())
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _short(value: object) -> str:
    return "unknown" if value is None else str(value)[:12]


def _origin(plan: Plan) -> dict[str, str]:
    """Name of what decides the results -> its digest or version."""
    found: dict[str, str] = {}
    for split in _SPLITS:
        if has_split(plan.budget.data, split):
            found[f"{split} data"] = load_data(plan.budget.data, split).sha256
    return {
        **found,
        "recipe": f"version {RECIPE}",
        "settings of training": _settings(plan),
        "torch": version("torch"),
    }


def _settings(plan: Plan) -> str:
    """Digest of settings and options of methods with their defaults, which the table leaves out."""
    from nvmc.training import Settings, make_method

    known: list[object] = [Settings().model_dump(mode="json")]
    for arm in plan.experiment.arms:
        options = quick_training(arm.options, {}, {})[0] if plan.quick else dict(arm.options)
        known.append([arm.name, make_method(arm.method, options).model_dump(mode="json")])
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
