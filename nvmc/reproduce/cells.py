"""One cell of a table: a network is trained, unless it is there, and its chips are judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nvmc.compiled.artifact import Compiled, replacing_file
from nvmc.compiled.options import CompileOptions, Kind
from nvmc.compiler import compile_model, transform_model
from nvmc.data import Dataset, load_data
from nvmc.evaluation.simulation import simulate
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.hardware.devices import Target, load_device
from nvmc.models.library import write_untrained
from nvmc.models.networks import NETWORKS, Network
from nvmc.models.recipes import RECIPES
from nvmc.reproduce.experiment import Experiment
from nvmc.reproduce.plan import Cell, Plan, quick_training
from nvmc.training import Settings, make_method, make_task, train

__all__ = ["run_cell"]


def run_cell(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What was found of a cell, which is in its file then; found now where it was not.

    Every random number is named by the seed, and torch has one thread, so a run that was killed
    and goes on finds the same numbers.

    Raises:
        NvmcError: By what is wrong.
    """
    if cell.found.exists():
        return cell.result()
    cell.found.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "arm": cell.arm.name,
        "point": cell.point.text,
        "seed": cell.seed,
        **_judged(plan, cell),
    }
    with replacing_file(cell.found) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def _judged(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Value, spread over chips, ideal value and what a guess reaches, of one cell."""
    experiment, budget = plan.experiment, plan.budget
    path = _trained(plan, cell)
    normalised = cell.arm.build.get("norm", "instance") != "instance"  # which the pass misses
    kinds: list[Kind] = [kind for kind in experiment.store if normalised or kind != "norm"]
    options = CompileOptions(store=tuple(kinds))
    with TemporaryDirectory(prefix="nvmc-") as folder:
        compiled = compile_model(path, _target(experiment), options, output=Path(folder) / "n.nvmc")
        if experiment.measure == "detected":
            return _detected(plan, cell, compiled)
        noise = cell.point.noise
        result = simulate(
            compiled,
            runs=budget.chips if cell.point.kind != "none" else min(budget.chips, 2),
            data=budget.data,
            limit=budget.images or None,
            metric=experiment.metric,
            sigma=cell.point.at if cell.point.kind == "sigma" else 0.0,
            noise=[] if noise is None else [noise],
            mc_passes=budget.passes if cell.arm.draws else None,
            percentile=experiment.percentile,
            seed=cell.seed,
            jobs=1,
        )
    value = result.kpp.value if experiment.measure == "kpp" else result.summary.mean
    found = {"value": value, "spread": result.summary.std or 0.0, "ideal": result.ideal}
    return found | {"guess": _guess(plan) if experiment.metric == "accuracy" else 0.0}


def _guess(plan: Plan) -> float:
    """The accuracy of whoever always gives the most frequent class, and three standard errors."""
    y = load_data(plan.budget.data, "test", plan.budget.images or None).y
    if y is None:
        return 0.0
    share = float(np.unique(y, return_counts=True)[1].max() / y.size)
    return share + 3 * math.sqrt(share * (1 - share) / y.size)


def _detected(plan: Plan, cell: Cell, compiled: Compiled) -> dict[str, Any]:
    """Share of shifted images that are seen to be unusual (docs/uncertainty.md)."""
    point = cell.point
    result: dict[str, Any] = uncertainty(
        compiled,
        sigma=0.0,
        data=plan.budget.data,
        limit=plan.budget.images or None,
        runs=plan.budget.chips,
        mc_passes=plan.budget.passes if cell.arm.draws else None,
        shifts=[point.kind],
        seed=cell.seed,
        jobs=1,
    ).to_json()
    wanted = (point.kind if point.at else "none", point.at)
    row = next(row for row in result["rows"] if (row["kind"], row["strength"]) == wanted)
    seen, right = row["detected"], row["accuracy"]
    return {"value": seen["mean"], "spread": seen["std"] or 0.0, "ideal": right["mean"]}


def _target(experiment: Experiment) -> Target:
    """The cells."""
    given = {"weight_bits": experiment.weight_bits, "cell_bits": experiment.cell_bits}
    own: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    own |= {"per_channel": experiment.per_channel, "bits": experiment.bits}
    return Target.of(load_device(experiment.device), **own)


def _network(plan: Plan, cell: Cell) -> Network:
    """The network with what it is built with here."""
    network = NETWORKS[plan.budget.network]
    build = {**network.options, **(plan.experiment.quick.build if plan.quick else {})}
    # BatchNormalization that is kept in cells must not be folded by the exporter.
    computed = network.computed or cell.arm.build.get("norm") == "batch"
    return replace(network, options={**build, **cell.arm.build}, computed=computed)


def _trained(plan: Plan, cell: Cell) -> Path:
    """The file of the trained network."""
    if cell.training.exists():
        return cell.training
    if plan.experiment.trainer == "boxes":
        return _trained_boxes(plan, cell)
    network = _network(plan, cell)
    experiment, budget = plan.experiment, plan.budget
    first: Dataset = load_data(budget.data, "train", 1)
    options, own = dict(cell.arm.options), {**experiment.settings, **cell.arm.settings}
    if plan.quick:
        options, own = quick_training(options, own, experiment.quick.settings)
    settings: dict[str, Any] = {
        "epochs": budget.epochs,
        "seed": cell.seed,
        "init": "keep",
        "keep": "last",
        "every": 0,
        "chips": 20,
        "percentile": 5.0,
        **own,
    }
    with TemporaryDirectory(prefix="nvmc-") as name:
        source = Path(name) / "start.onnx"
        write_untrained(network, source, cell.seed, first.x.shape[1:])
        if cell.arm.dropout:
            dropped = Path(name) / "dropped.onnx"
            transform_model(source, [f"insert-dropout:rate={cell.arm.dropout}"], dropped)
            source = dropped
        task = make_task(
            budget.data,
            _target(experiment),
            sigma=cell.point.at if experiment.trained_at is None else experiment.trained_at,
            settings=Settings.model_validate(settings),
            options=CompileOptions(activation_bits=experiment.activation_bits),
            validation_limit=1000,
        )
        with replacing_file(cell.training) as temporary:
            train(source, task, make_method(cell.arm.method, options), output=temporary)
    return cell.training


def _trained_boxes(plan: Plan, cell: Cell) -> Path:
    """The detector, trained in torch by its own recipe."""
    from nvmc.models.train import write_trained

    own = {"epochs": plan.budget.epochs, "seed": cell.seed, "dropout": cell.arm.dropout}
    with replacing_file(cell.training) as temporary:
        write_trained(replace(RECIPES["detector-scenes"], **own), temporary)
    return cell.training
