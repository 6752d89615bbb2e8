"""`nvmc.train`: a network in, one for better chips out, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

from pydantic import ValidationError

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled, Origin
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.data import Data
from nvmc.errors import OptionError
from nvmc.hardware.devices import Device, Target, as_target
from nvmc.hardware.options import problem
from nvmc.metrics.values import bare_text, in_percent
from nvmc.models.given import as_file
from nvmc.progress import Progress
from nvmc.tables import Cell, Shown, Table
from nvmc.training.methods import make_method
from nvmc.training.outcome import Epoch, Outcome
from nvmc.training.preparation import lacking_classes, make_task
from nvmc.training.settings import Settings
from nvmc.training.train import train

__all__ = ["RunOptions", "TaskOptions", "Trained", "train_network"]


@checked
@dataclass(frozen=True, repr=False)
class Trained(Shown):
    """A trained network.

    Attributes:
        path: Its ONNX file.
        outcome: What training did, and the network's worth on held-out images before and after.
        target: The cells that it was trained for.
        options: How it is to be compiled; activations are quantised in the file already.
        data: The data that it was trained on.
        metric: What its KPPs are of.
    """

    path: Path
    outcome: Outcome
    target: Target
    options: CompileOptions
    data: Data
    metric: str = "accuracy"

    def headline(self) -> str:
        """What it is and what came out, in one line."""
        did, metric = self.outcome, self.metric
        unit = " in %" * in_percent(metric)
        before, after = (bare_text(metric, one.kpp) for one in (did.before, did.after))
        how = f"{did.method}, {len(did.epochs)} epochs"
        return f"Trained {self.path.name} ({how}): KPP{unit} {before} before, {after} after"

    def shown(self) -> Table:
        """A row for each epoch."""
        rows = tuple(
            (
                str(one.epoch),
                f"{one.loss:.4g}",
                "" if one.kpp is None else bare_text(self.metric, one.kpp),
                "kept" if one.epoch == self.outcome.kept else "",
            )
            for one in self.outcome.epochs
        )
        unit = " [%]" * in_percent(self.metric)
        return Table(("epoch", "loss", f"held-out KPP{unit}", ""), rows)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each epoch: its loss, KPP and time."""
        for one in self.outcome.epochs:
            yield {**vars(one), "best": str(one.best).lower()}

    @checked
    def compile(
        self,
        target: Target | Device | str | Path | None = None,
        *,
        output: str | Path | None = None,
    ) -> Compiled:
        """Compile it with the options that it was trained for.

        Args:
            target: Other cells than those.
            output: The folder; see `nvmc.compile`.

        Raises:
            NvmcError: See `nvmc.compile`.
        """
        cells = self.target if target is None else as_target(target)
        return compile_model(self.path, cells, self.options, output=output, data=self.data)


class TaskOptions(TypedDict, total=False):
    """What else decides training; see `make_task`.

    Attributes:
        validation: Held-out data.
        validation_limit: Held-out images that KPPs are taken on.
        sigma: Strength of the cells' noise; None for the device's own.
        times_s: Seconds since programming between which chips in training are.
        teacher: ONNX file of a clean network whose outputs are imitated, too.
        metric: What KPPs are of, by name; by default what suits the labels.
        scored: The output that is trained.
        class_axis: Its axis of the classes.
    """

    validation: Data | None
    validation_limit: int | None
    sigma: float | None
    times_s: tuple[float, float] | None
    teacher: str | Path | None
    metric: Any
    scored: str | None
    class_axis: int | None


class RunOptions(TypedDict, total=False):
    """Files and followers of a run; see `nvmc.training.train`.

    Attributes:
        checkpoint: File that every epoch is kept in until the network is written.
        resume: Go on from the checkpoint.
        on_epoch: Called after every epoch.
    """

    checkpoint: str | Path | None
    resume: bool
    on_epoch: Callable[[Epoch], None] | None


@checked
def train_network(
    source: Any,
    target: Target | Device | str | Path | None = None,
    *,
    data: Data,
    method: str = "hwa",
    method_options: Mapping[str, object] | None = None,
    options: CompileOptions | None = None,
    example: Any = None,
    output: str | Path | None = None,
    **more: Annotated[Any, TaskOptions, RunOptions, Settings],
) -> Trained:
    """Train a network for the cells it will sit in: the same graph with better weights.

        robust = nvmc.train(plain, data="mnist:DIR", epochs=4, sigma=0.4).compile()

    Args:
        source: An ONNX file, which is never written to; an `onnx.ModelProto`; a `torch.nn.Module`;
            or what `nvmc.compile` has just returned, which stands for its source, its target and
            its options.
        target: The cells; of a compiled network its own by default.
        data: Training data (docs/data.md): a name, a set, arrays (x, y) or samples.
        method: A row of `nvmc.training.METHODS`; docs/methods/which.md says which when.
        method_options: Its options.
        options: How the network will be compiled; of a compiled one as it was by default.
        example: Of a torch module: an input with its batch axis; by default from `data`.
        output: The ONNX file to write; `NAME-METHOD.onnx` in the working directory by default.
        **more: `TaskOptions`, such as `sigma`; `RunOptions`; and settings of
            `nvmc.training.Settings`: `epochs`, `rate`, `batch`, `seed`, `clip`, …

    Raises:
        NvmcError: One of its children, by what is wrong; `output` is not touched then.
    """
    of_task, of_run = (
        {name: more.pop(name) for name in kind.__annotations__ if name in more}
        for kind in (TaskOptions, RunOptions)
    )
    if isinstance(source, Compiled):
        source, example, compiled_for, compiled_with = _origin(source)
        target, options = target or compiled_for, options or compiled_with
    if target is None:
        raise OptionError("train: a network without target=, the cells that it is trained for")
    _check_metric(of_task.get("metric"))
    cells, options = as_target(target), options or CompileOptions()
    chosen, scored = make_method(method, method_options or {}), of_task.pop("scored", None)
    try:
        settings = Settings.model_validate(more)
    except ValidationError as error:
        raise OptionError(f"train: {problem(error, Settings)}") from error
    of_run.setdefault("on_epoch", Progress("epochs", settings.epochs).one)
    with as_file(source, example, data, trained=True) as path:
        result = Path(f"{path.stem}-{method}.onnx") if output is None else Path(output)
        known = {"settings": settings, "options": options, "output": scored}
        task = make_task(data, cells, **known, **of_task)
        if (lacks := lacking_classes(task)) is not None:
            warnings.warn(lacks, stacklevel=3)
        outcome = train(path, task, chosen, output=result, **of_run)
    compiled_with = replace(options, activation_bits=None)
    return Trained(result, outcome, cells, compiled_with, data, task.metric)


def _check_metric(metric: Any) -> None:
    if metric is not None and not isinstance(metric, str):
        raise OptionError(
            f"train: metric is {metric!r:.60}; training keeps the best network by a metric that "
            "nvmc names, such as 'accuracy': give such a name or none, and judge the result by "
            "your own with nvmc.simulate(…, metric=…)"
        )


def _origin(compiled: Compiled) -> Origin:
    if compiled.origin is None:
        raise OptionError(
            f"train: {str(compiled.folder)!r} was compiled by another process; give the network "
            "that it was compiled from, and its target"
        )
    return compiled.origin
