"""`nvmc compile`: map an ONNX model onto crossbars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from nvmc.cli.codes import note_codes
from nvmc.cli.compile_report import print_compiled
from nvmc.cli.console import (
    input_options,
    memory_option,
    note,
    note_scale,
    out,
    percent,
    print_json,
)
from nvmc.cli.figures import figures
from nvmc.cli.from_table import chosen_design
from nvmc.cli.rounding import note_rounding
from nvmc.cli.target import target_from, target_options
from nvmc.cli.work import note_share
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.errors import OptionError
from nvmc.hardware.devices import Device, Target, as_noise
from nvmc.hardware.options import value_of
from nvmc.models import resolve_model
from nvmc.report.figure import Sheet
from nvmc.report.tile_map import draw_tiles

__all__ = ["compile_command"]


@click.command("compile")
@click.argument("model")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="[default: NAME.nvmc]"
)
@target_options
@click.option(
    "--skip",
    multiple=True,
    metavar="GLOB",
    help=(
        "Keep layers digital if their name, or the name of their weight, matches. May be repeated."
    ),
)
@click.option(
    "--clip",
    metavar="auto|kpp|K|P%",
    help=(
        "Clip weights at K standard deviations or percentile P; auto: the width with the "
        "least expected error; kpp: the width with the best KPP on --data."
    ),
)
@click.option(
    "--noise",
    multiple=True,
    metavar="TYPE:K=V,…",
    help="With --clip kpp: one more noise source of the chips. May be repeated.",
)
@click.option("--fold-batchnorm", is_flag=True, help="Fold BatchNorm into the layer before it.")
@click.option(
    "--activation-bits", type=int, metavar="A", help="Quantise layers' inputs; needs --data."
)
@click.option(
    "--data",
    metavar="SPEC",
    help="Data to calibrate ranges, and to compare the ideal chip with MODEL.",
)
@click.option(
    "--store",
    multiple=True,
    type=click.Choice(["bias", "norm"]),
    help="Keep biases or normalisation parameters in cells too.",
)
@input_options
@click.option(
    "--state",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="Feed an output back as the next step's input, over sequences. May be repeated.",
)
@click.option(
    "--pass",
    "passes",
    multiple=True,
    metavar="NAME:K=V,…",
    help="Run a pass first. May be repeated.",
)
@click.option(
    "--require-mapped",
    type=float,
    metavar="SHARE",
    help=("Refuse if a smaller share of the weights' multiply-adds is on crossbars; 0.99 is 99 %."),
)
@click.option(
    "--from",
    "from_table",
    metavar="FILE.csv#N",
    help=(
        "Build design N of a front written by nvmc explore; replaces all options that "
        "describe the design."
    ),
)
@memory_option
@figures("Draw the tile map: how each array is cut into tiles, and how full they are.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def compile_command(
    model: str,
    output: Path | None,
    from_table: str | None,
    data: str | None,
    noise: tuple[str, ...],
    figure: Sheet | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile MODEL, an ONNX file or zoo:NAME, into the folder NAME.nvmc.

    The folder's model.onnx is standard ONNX that onnxruntime runs as the ideal chip.
    """
    source = resolve_model(model)
    if from_table is None:
        target, chosen = _asked(source, data, noise, as_json, options)
    else:
        typed = {**options, "noise": noise}
        source, target, chosen = chosen_design(from_table, source, typed)
    compiled = compile_model(source, target, chosen, output=output, data=data)
    refusal = compiled.manifest.refusal
    if refusal is not None:
        note(f"nvmc simulate and nvmc train refuse this network as it is: {refusal}")
    if figure is not None:
        draw_tiles(compiled, figure)
    if as_json:
        print_json(compiled.manifest.model_dump(mode="json"))
    else:
        print_compiled(compiled, bool(from_table or options["device"] or options["target"]))
    note_scale(compiled.manifest.target.device)
    note_share(compiled.manifest)
    note_rounding(compiled.manifest)
    note_codes(compiled.manifest, data)


def _asked(
    source: Path, data: str | None, noise: Sequence[str], as_json: bool, options: dict[str, Any]
) -> tuple[Target, CompileOptions]:
    """The cells, and how the network is compiled, as the options say; looks for what is to be."""
    wanted = options["adc_range"] or ""
    by_kpp = wanted.partition(":")[0] == "kpp"
    if by_kpp:  # what is looked for until then: weights are clipped before
        options["adc_range"] = "error"
    target = target_from(options)
    chosen = CompileOptions(**{field.name: options[field.name] for field in fields(CompileOptions)})
    if chosen.clip is not None and chosen.clip.partition(":")[0] == "kpp":
        chosen = _with_best_clip(source, target, data, chosen, noise, as_json)
    elif noise:
        raise OptionError(
            f"--noise is {noise[0]!r}, but only --clip kpp judges chips; leave it out, and give it "
            "to nvmc simulate"
        )
    if by_kpp:
        target = _with_best_range(source, target, data, chosen, wanted, as_json)
    return target, chosen


def _with_best_clip(
    source: Path,
    target: Target,
    data: str | None,
    options: CompileOptions,
    noise: Sequence[str],
    quiet: bool,
) -> CompileOptions:
    """The options with the width that `--clip kpp` finds; says what was tried."""
    from nvmc.evaluation.best_clip import Tried, best_clip  # nothing else of compile needs it

    if data is None:
        raise OptionError("--clip kpp judges chips, and needs --data; or use --clip auto")
    sigma = _sigma_of("--clip", str(options.clip))
    _check_strength(target.on(None, map(as_noise, noise)).device, sigma)
    console = out()

    def tell(tried: Tried) -> None:
        width = "weights as they are" if tried.clip is None else f"--clip {tried.clip}"
        console.print(f"  {width:20} KPP {percent(tried.kpp)}, ideal chip {percent(tried.ideal)}")

    if not quiet:
        strength = target.device.sigma if sigma is None else sigma
        at = "" if strength is None else f" at sigma {strength:g}"
        console.print(f"KPP (1st percentile) of 100 chips{at} on at most 500 held-out images:")
    best, _ = best_clip(
        source, target, data, options, sigma=sigma, noise=noise, on_tried=None if quiet else tell
    )
    return replace(options, clip=best.clip)


def _check_strength(device: Device, sigma: float | None) -> None:
    """Complain, in terms of `--clip`, of a strength that the device wants or does not take."""
    if sigma is not None and not device.needs_sigma:
        raise OptionError(
            f"--clip is kpp:{sigma:g}, but no noise source of device {device.name!r} takes a "
            "sigma; give --clip kpp, and --noise TYPE:K=V for more noise"
        )
    if sigma is None and device.needs_sigma and device.sigma is None:
        raise OptionError(
            f"--clip is kpp, but device {device.name!r} states no sigma; give it as --clip "
            "kpp:SIGMA"
        )


def _with_best_range(
    source: Path,
    target: Target,
    data: str | None,
    options: CompileOptions,
    wanted: str,
    quiet: bool,
) -> Target:
    """The target with the ADC range that `--adc-range kpp` finds; says what was tried."""
    from nvmc.evaluation.best_range import TriedRange, best_range  # nothing else needs it

    if data is None:
        raise OptionError("--adc-range kpp judges chips, and needs --data; or use a full range")
    if target.periphery.adc_bits is None:
        raise OptionError("--adc-range kpp chooses a range of ADCs, and there are none: --adc-bits")
    sigma, console = _sigma_of("--adc-range", wanted), out()

    def tell(tried: TriedRange) -> None:
        name = f"--adc-range {tried.adc_range}"
        console.print(f"  {name:22} KPP {percent(tried.kpp)}, ideal chip {percent(tried.ideal)}")

    if not quiet:
        strength = target.device.sigma if sigma is None else sigma
        at = "" if strength is None else f" at sigma {strength:g}"
        console.print(f"KPP (1st percentile) of 100 chips{at} on at most 500 held-out images:")
    told = None if quiet else tell
    best, _ = best_range(source, target, data, options, sigma=sigma, on_tried=told)
    periphery = target.periphery.model_copy(update={"adc_range": best.adc_range})
    return target.model_copy(update={"periphery": periphery})


def _sigma_of(option: str, text: str) -> float | None:
    """The strength of noise behind `kpp:`; None without."""
    _, colon, number = text.partition(":")
    sigma = value_of(number) if colon else None
    if sigma is not None and not isinstance(sigma, int | float):
        raise OptionError(f"{option} is {text!r}; expected kpp, or kpp:SIGMA as in kpp:0.4")
    return sigma
