"""Inverted normalisation against plain training and two dropout networks, as in DATE 2024.

The experiments of Ahmed et al., Sec. IV-C to IV-E, on a smaller task: LeNet-5 on `digits`, 8-bit
weights in 2-bit cells, trained without any noise from the same random start. Bit flips, additive
and multiplicative variation of the weights, each over CHIPS chips and PASSES passes; then the
doubts of the networks on turned and noisy images.

Usage: python tests/benchmarks/study_invnorm.py [FOLDER] [--quick] [--docs]

Everything found is kept in FOLDER (build/study_invnorm), one JSON file a figure; what is there is
not computed again, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import figures, parser, source

from nvmc import Compiled, Target, compile_model, load_device, open_compiled, simulate
from nvmc.evaluation.parameters import Setup
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.hardware.devices import parse_noise
from nvmc.models import resolve_model
from nvmc.training import Settings, make_method, make_task, train

FOLDER = Path(__file__).resolve().parents[2] / "build" / "study_invnorm"
METHODS = ("erm", "spindrop", "spatial-spindrop", "invnorm")
NOISE = (
    *[f"bitflip:p={p}" for p in (0.01, 0.05, 0.1, 0.2)],
    *[f"additive:sigma={s}" for s in (0.05, 0.1, 0.2)],
    *[f"multiplicative:sigma={s}" for s in (0.2, 0.4, 0.6)],
)
CHIPS, PASSES, IMAGES, DOUBTERS = 100, 10, 250, 5
EPOCHS = 60


def main(folder: Path, quick: bool) -> None:
    """Compute what is missing and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    chips, epochs, noises = (3, 2, NOISE[::5]) if quick else (CHIPS, EPOCHS, NOISE)
    target = Target.of(load_device("rram4"), weight_bits=8, cell_bits=2)
    found: dict[str, dict[str, Any]] = {}
    doubts: dict[str, Any] = {}
    for method in METHODS:
        network = trained(folder, method, target, epochs)
        passes = None if method == "erm" else PASSES
        found[method] = {
            noise: kept(
                folder / f"{method}-{noise.replace(':', '-')}.json",
                lambda n=noise, c=network, t=passes: chips_under(c, n, t, chips),
            )
            for noise in ("none", *noises)
        }
        doubts[method] = kept(
            folder / f"{method}-doubts.json",
            lambda c=network, t=passes: doubts_of(c, t, 2 if quick else DOUBTERS),
        )
    missing = "--quick is no measurement" if quick else ""
    made = [each for noise in found.values() for each in noise.values()]
    figures(__file__, "faults", table(found, ("none", *noises)), missing=missing, made=made)
    for kind in ("rotation", "noise"):
        shown, made = doubt_table(doubts, kind), list(doubts.values())
        figures(__file__, kind, shown, missing=missing, made=made)


def kept(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in the file; computed and written first if it is not there."""
    if not path.exists():
        content = json.dumps({**compute(), **source()})
        temporary = path.with_suffix(".part")
        temporary.write_text(content)
        temporary.replace(path)
        print(f"{time.strftime('%H:%M:%S')} {path.name}", file=sys.stderr, flush=True)
    return json.loads(path.read_text())


def trained(folder: Path, method: str, target: Target, epochs: int) -> Compiled:
    """The compiled network that a method trains, from the same random start."""
    compiled, onnx = folder / f"{method}.nvmc", folder / f"{method}.onnx"
    if compiled.exists():
        return open_compiled(compiled)
    settings = Settings(
        epochs=epochs, batch=64, rate=2e-3, init="random", every=0, chips=1, keep="last"
    )
    task = make_task("digits", target, sigma=0.0, settings=settings)
    source = resolve_model("zoo:lenet5-digits")
    train(source, task, make_method(method), output=onnx)
    return compile_model(onnx, target, output=compiled)


def chips_under(compiled: Compiled, noise: str, passes: int | None, chips: int) -> dict[str, Any]:
    """Accuracy of chips under one noise source alone."""
    sources = [] if noise == "none" else [parse_noise(noise)]
    result = simulate(
        compiled,
        runs=chips if sources else min(chips, 20),
        data="digits",
        limit=IMAGES,
        sigma=0.0,
        noise=sources,
        mc_passes=passes,
        jobs=1,
    )
    return {"mean": result.summary.mean, "std": result.summary.std, "seconds": result.seconds}


def doubts_of(compiled: Compiled, passes: int | None, chips: int) -> dict[str, Any]:
    """What chips without noise know of their doubts."""
    result = uncertainty(
        compiled,
        Setup(compiled.manifest.target, sigma=0.0),
        data="digits",
        limit=IMAGES,
        runs=chips,
        mc_passes=passes,
        jobs=1,
    )
    return result.to_json()


def table(found: dict[str, dict[str, Any]], noises: tuple[str, ...]) -> str:
    """Accuracy in %, mean +- standard deviation over chips."""
    lines = [f"| on the weights | {' | '.join(METHODS)} |", f"| --- |{' ---: |' * len(METHODS)}"]
    for noise in noises:
        each = [found[method][noise] for method in METHODS]
        cells = [f"{100 * c['mean']:.1f} ± {100 * (c['std'] or 0):.1f}" for c in each]
        lines.append(f"| {spoken(noise)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spoken(noise: str) -> str:
    """A noise as the page calls it."""
    kind, _, strength = noise.partition(":")
    name = {"bitflip": "bit flips"}.get(kind, kind)
    return f"{name}, {strength.replace('sigma', 'σ').replace('=', ' = ')}" if strength else name


def doubt_table(doubts: dict[str, Any], kind: str) -> str:
    """Accuracy, NLL, variance and detected shares over the strengths of one shift."""
    lines = [
        f"| {'turned by' if kind == 'rotation' else kind} | {' | '.join(METHODS)} |",
        f"| --- |{' ---: |' * len(METHODS)}",
    ]
    rows = {method: doubts[method]["rows"] for method in METHODS}
    for position, row in enumerate(rows[METHODS[0]]):
        if row["kind"] not in ("none", kind):
            continue
        cells: list[str] = []
        for method in METHODS:
            found = {k: v["mean"] for k, v in rows[method][position].items() if isinstance(v, dict)}
            cells.append(
                f"{100 * found['accuracy']:.0f}, {found['nll']:.2f}, {found['variance']:.3f}, "
                f"{100 * found['detected']:.0f}, {100 * found['detected_predicted']:.0f}"
            )
        unit = "°" if kind == "rotation" else ""
        lines.append(f"| {row['strength']:g}{unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    options.add_argument("--quick", action="store_true", help="few chips and epochs, to try it out")
    given = options.parse_args()
    main(given.folder, given.quick)
