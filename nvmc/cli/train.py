"""`nvmc train`: better weights for the chips that a network will sit on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from nvmc.cli.console import (
    input_options,
    note,
    note_kept,
    note_percentile,
    note_range,
    print_json,
)
from nvmc.cli.running import run_options
from nvmc.cli.target import target_from, target_options
from nvmc.cli.train_report import Report, epoch_progress, print_methods, print_report
from nvmc.compiled.options import CompileOptions
from nvmc.data import NAMED
from nvmc.errors import OptionError
from nvmc.evaluation.parameters import parse_values
from nvmc.hardware.devices import parse_noise
from nvmc.hardware.options import pairs, problem, value_of
from nvmc.interruption import Loading, interrupted
from nvmc.models import resolve_model

__all__ = ["train_command"]

F = TypeVar("F", bound=Callable[..., Any])

AFFINE = "turn=12,scale=0.1,shift=2"
"""What `--augment affine` stands for, as in `nvmc.training.AFFINE`, which loads torch."""

_SETTINGS: dict[str, tuple[Any, str | None, str]] = {
    "epochs": (int, "N", "Passes over the images.  [default: 100]"),
    "batch": (int, "N", "Images per step.  [default: 128]"),
    "optimizer": (click.Choice(["adamw", "adam", "sgd"]), None, "Optimiser.  [default: adamw]"),
    "rate": (
        str,
        "R|auto",
        (
            "Learning rate, the highest of its schedule; auto: the method's own value.  [default:"
            " auto]"
        ),
    ),
    "schedule": (
        click.Choice(["cosine", "one-cycle", "constant"]),
        None,
        "Course of the learning rate.  [default: cosine]",
    ),
    "decay": (float, "D", "Weight decay.  [default: 0.0001]"),
    "momentum": (float, "M", "Momentum of sgd.  [default: 0.9]"),
    "seed": (int, "S", "Seed of all random numbers of the run.  [default: 0]"),
    "chips": (int, "N", "Number of chips for each KPP.  [default: 300]"),
    "percentile": (
        float,
        "K",
        "Share of the worst chips left out, in %; 1: 99 of 100 chips reach the KPP.  [default: 1]",
    ),
    "every": (int, "N", "Measure the KPP every N epochs; 0: only after the last.  [default: 5]"),
    "patience": (int, "N", "Stop after N KPPs without a better one; 0: never.  [default: 0]"),
    "keep": (
        click.Choice(["best", "last"]),
        None,
        ("Save the weights of the epoch with the best KPP, or of the last epoch.  [default: best]"),
    ),
    "init": (
        click.Choice(["keep", "random"]),
        None,
        "Start from the model's weights (keep) or new random weights (random).  [default: keep]",
    ),
    "augment": (
        str,
        "affine|K=V,…",
        f"Change the images at random each time; affine is {AFFINE}; crop=4,flip=0.5 is usual for "
        "photographs.",
    ),
    "clip": (
        str,
        "K|learned|none|auto",
        (
            "Keep weights within K standard deviations; auto: the method's own value.  [default: "
            "auto]"
        ),
    ),
    "estimator": (
        click.Choice(["straight-through", "ede"]),
        None,
        "Gradient of Sign; ede is IR-Net's.  [default: straight-through]",
    ),
    "circuit": (
        click.Choice(["trained", "judged"]),
        None,
        (
            "Include converters, tiles and wires in training, or only when KPPs are measured.  "
            "[default: trained]"
        ),
    ),
    "ranges": (
        click.Choice(["measured", "learned"]),
        None,
        "Calibrated ranges of DACs: measured, or learned and saved.  [default: measured]",
    ),
    "accelerator": (click.Choice(["cpu", "cuda"]), None, "Where to train.  [default: cpu]"),
}
"""Field of `nvmc.training.Settings` -> type, metavar and help of its option."""


def _settings_options(command: F) -> F:
    for name, (kind, metavar, text) in reversed(_SETTINGS.items()):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, type=kind, metavar=metavar, help=text)(command)
    return command


@click.command("train")
@click.argument("model", required=False)
@click.option("--methods", is_flag=True, help="List the methods and their options, and exit.")
@click.option(
    "--method",
    default="hwa",
    show_default=True,
    metavar="NAME",
    help="Training method; --methods lists them.",
)
@click.option(
    "--method-option",
    "method_options",
    multiple=True,
    metavar="K=V",
    help="An option of the method.  May be repeated.",
)
@click.option("--data", metavar="SPEC", help=f"{NAMED}.")
@click.option(
    "--validation",
    metavar="SPEC",
    help="Held-out data.  [default: the validation split of --data, else a tenth of it]",
)
@click.option(
    "--validation-limit",
    type=int,
    metavar="N",
    help=(
        "Number of held-out images for KPPs; 0: all.  [default: so many that KPPs take no "
        "longer than training]"
    ),
)
@click.option(
    "--teacher",
    metavar="MODEL",
    help=(
        "A network without noise, FILE or zoo:NAME; hwa learns its outputs as well as the labels."
    ),
)
@click.option("--sigma", type=float, help="Strength of the device's noise.")
@click.option(
    "--noise",
    multiple=True,
    metavar="TYPE:K=V,…",
    help="One more noise source, such as stuck-at:p_low=0.01. May be repeated.",
)
@click.option(
    "--time",
    metavar="T|T:T",
    help=(
        "Age of the chips, such as 30d. With 1h:30d training draws ages between these two, "
        "and KPPs are measured at the second."
    ),
)
@run_options("temperature")
@target_options
@click.option("--skip", multiple=True, metavar="GLOB", help="Keep matching layers digital.")
@click.option(
    "--activation-bits",
    type=int,
    metavar="A",
    help="Quantise the layers' inputs, in training and in the result.",
)
@click.option(
    "--scored",
    metavar="NAME",
    help="The output to train.  [default: the one that `nvmc simulate` scores]",
)
@run_options("class-axis", "metric", "max-memory")
@input_options
@_settings_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Trained network to write.  [default: NAME-METHOD.onnx]",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=(
        "File that keeps the state after each epoch, until the run ends.  [default: "
        "OUTPUT.checkpoint]"
    ),
)
@click.option("--resume", is_flag=True, help="Continue the same command after an interruption.")
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write curves for TensorBoard into this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def train_command(
    model: str | None,
    methods: bool,
    method: str,
    method_options: tuple[str, ...],
    data: str | None,
    output: Path | None,
    checkpoint: Path | None,
    resume: bool,
    tensorboard: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train MODEL, an ONNX file or zoo:NAME, for the chips that it will run on.

    The result is the same ONNX graph with better weights, ready for `nvmc compile` with the same
    options. `--methods` lists the methods.
    """
    training = _training()
    if methods:
        print_methods(training.METHODS)
        return
    if model is None or data is None:
        what = "argument 'MODEL'" if model is None else "option '--data'"
        raise click.UsageError(f"Missing {what}.")
    source = resolve_model(model)
    result = Path(f"{source.stem}-{method}.onnx") if output is None else output
    kept = Path(f"{result}.checkpoint") if checkpoint is None else checkpoint
    chosen = training.make_method(method, _values("--method-option", method_options, "th=2"))
    task = _task(training, data, options)
    if (lacks := training.lacking_classes(task)) is not None:
        note(lacks)
    with _followers(training, task.settings.epochs, tensorboard, not as_json) as on_epoch:
        with _telling_how_to_resume(kept):
            outcome = training.train(
                source,
                task,
                chosen,
                output=result,
                checkpoint=kept,
                resume=resume,
                on_epoch=on_epoch,
            )
    note_kept(task.target, sigma=task.sigma, noise=options["noise"])
    note_range(task.target.device, [task.sigma])
    note_percentile(task.settings.percentile)
    report = Report(source, result, task, outcome, {**options, "data": data})
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)


def _task(training: Any, data: str, options: Mapping[str, Any]) -> Any:
    """The training task that the options describe."""
    target = target_from(options)
    noise = [parse_noise(text) for text in options["noise"]]
    return training.make_task(
        data,
        target.on(None, noise).at_temperature(options["temperature_c"]),
        validation=options["validation"],
        validation_limit=options["validation_limit"],
        sigma=options["sigma"],
        settings=_settings(training, options),
        options=CompileOptions(
            options["skip"],
            activation_bits=options["activation_bits"],
            shape=options["shape"],
            inputs=options["inputs"],
        ),
        output=options["scored"],
        class_axis=options["class_axis"],
        metric=options["metric"],
        teacher=options["teacher"] and resolve_model(options["teacher"]),
        times_s=_times(options["time"]),
    )


def _times(text: str | None) -> tuple[float, float] | None:
    """`30d` or `1h:30d` as seconds."""
    if text is None:
        return None
    ends = [value.number or 0.0 for end in text.split(":") for value in parse_values("time", end)]
    if len(ends) > 2 or "," in text:
        raise OptionError(f"--time is {text!r}; expected a time such as 30d, or two as in 1h:30d")
    return ends[0], ends[-1]


def _settings(training: Any, options: Mapping[str, Any]) -> Any:
    given = {name: options[name] for name in _SETTINGS if options[name] is not None}
    if "augment" in given:
        text = AFFINE if given["augment"] == "affine" else given["augment"]
        given["augment"] = _values("--augment", text.split(","), "turn=12")
    for name in ("clip", "rate"):
        if name in given:
            given |= _values(f"--{name}", [f"{name}={given[name]}"], f"{name}=2")
    try:
        return training.Settings.model_validate(given)
    except ValidationError as error:
        raise OptionError(problem(error, training.Settings, option=True)) from error


def _values(where: str, texts: Sequence[str], example: str) -> dict[str, Any]:
    """KEY=VALUE texts as values by key; `none` is nothing."""
    found = pairs(where, texts, example)
    return {key: None if text.lower() == "none" else value_of(text) for key, text in found.items()}


@contextmanager
def _followers(
    training: Any, epochs: int, folder: Path | None, shown: bool
) -> Generator[Callable[[Any], None]]:
    """What is told of each epoch: the progress on a terminal, and TensorBoard's folder."""
    with ExitStack() as stack:
        followers = [stack.enter_context(epoch_progress(epochs, shown))]
        if folder is not None:
            followers.append(stack.enter_context(training.EventLog(folder)).write)

        def tell(epoch: Any) -> None:
            for follower in followers:
                follower(epoch)

        yield tell


@contextmanager
def _telling_how_to_resume(checkpoint: Path) -> Generator[None]:
    try:
        yield
    except BaseException as error:
        if not interrupted(error) or not checkpoint.exists():
            raise
        raise KeyboardInterrupt(
            f"every epoch that ended is kept in {str(checkpoint)!r}; the same command with "
            "--resume goes on from there"
        ) from error


def _training() -> Any:
    """`nvmc.training`, which needs torch.

    Raises:
        OptionError: torch, or what else training needs, is not installed.
    """
    try:
        with Loading():
            return importlib.import_module("nvmc.training")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nvmc"):
            raise
        raise OptionError(
            f"training needs {error.name}, which is not installed; run `pip install 'nvmc[train]'`"
        ) from error
