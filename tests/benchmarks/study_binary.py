"""Binary networks and M5 under the noise of inverted normalisation's paper, against its rivals.

Three workloads of Ahmed et al. (DATE 2024), at a size that a processor trains in minutes, on
made-up data: `irnet`, IR-Net's ResNet-18 (1-bit weights and activations) of width 8 on ten classes
of 32 x 32 x 3 gratings; `unet`, U-Net with 1-bit weights and 4-bit activations of width 8 and three
levels on 32 x 32 x 3 pictures of bright curves; `m5`, M5 with 8-bit weights on seconds of two tones
of ten kinds, at 8 kHz. All are trained by nvmc from their ONNX files, binary ones by latent weights
(the table says whether the weights are still binary), on a device without noise, and judged with
noise that training did not see:

- bit flips of the stored bits;
- additive and multiplicative noise on what enters every Sign (`irnet`) or every activation (`unet`:
  the normalised sums, which PACT then rounds), or on the weights (`m5`).

Each training with its chips under one noise is a line of records/study_binary.jsonl, so a killed
run goes on where it was. OMP_NUM_THREADS=1 is the setting it was run at.

Usage: python tests/benchmarks/study_binary.py [--tasks m5,irnet,unet] [--table] [--docs]
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import figures, keep, lacking, parser, record_file, records
from numpy.typing import NDArray

from nvmc import Compiled, Target, compile_model, load_device, open_compiled, simulate
from nvmc.models.export import export_module, export_onnx
from nvmc.models.irnet import IrNetResNet
from nvmc.models.m5 import M5
from nvmc.models.unet import UNet
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph.mappable import finite_array, layers_of
from nvmc.passes.io.load import load_model
from nvmc.training import Settings, make_method, make_task, train

ROOT = Path(__file__).resolve().parents[2] / "build"
FOLDER = ROOT / "study_binary"
ROWS: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "plain": ("erm", {}, None),
    "invnorm": ("invnorm", {"active": True}, 4),
    "invnorm, one pass": ("invnorm", {"active": True}, 1),
    "spindrop": ("spindrop", {"p": 0.1}, 4),
    "spatial-spindrop": ("spatial-spindrop", {"p": 0.1}, 4),
}
"""Method of training, its options, and the passes that are averaged at inference: noise of
activations is fresh in each, so that an average of four has half of it."""
AT = {"irnet": "", "unet": ",at=*relu*"}
_BINARY = (
    "none",
    *[f"bitflip:p={p}" for p in (0.05, 0.1, 0.2)],
    *[f"activation:sigma={s}" for s in (0.2, 0.5, 1.0)],
    *[f"activation:law=multiplicative,sigma={s}" for s in (0.5, 1.0)],
)
NOISE = {
    "irnet": _BINARY,
    "unet": _BINARY,
    "m5": (
        "none",
        *[f"bitflip:p={p}" for p in (0.01, 0.05, 0.1)],
        *[f"additive:sigma={s}" for s in (0.05, 0.1, 0.2)],
        *[f"multiplicative:sigma={s}" for s in (0.2, 0.4)],
    ),
}
METRIC = {"irnet": "accuracy", "unet": "miou", "m5": "accuracy"}
SIZES = {"irnet": (1000, 100, 100), "unet": (400, 50, 50), "m5": (400, 50, 150)}
"""Images that train, that are held out, and that chips are judged on."""
EPOCHS, BATCH, CHIPS = {"irnet": 30, "unet": 12, "m5": 12}, 32, 20
RATE = {"irnet": 1e-2, "unet": 3e-3, "m5": 3e-3}


def gratings(count: int, draw: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ten classes: five directions of stripes, in two colours, shifted at random, under noise."""
    y = draw.integers(10, size=count)
    rows, columns = np.mgrid[:32, :32]
    x = np.empty((count, 3, 32, 32), np.float32)
    for image, kind in enumerate(y):
        angle, phase = np.pi * (kind % 5) / 5, draw.uniform(0, 2 * np.pi)
        turned = np.cos(angle) * columns + np.sin(angle) * rows
        stripes = np.sin(2 * np.pi * turned / 6 + phase)
        colour = np.array([1.0, 0.2, 0.6]) if kind < 5 else np.array([0.2, 1.0, 0.6])
        x[image] = colour[:, None, None] * stripes + 0.8 * draw.standard_normal((3, 32, 32))
    return x, y.astype(np.int64)


def curves(count: int, draw: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pictures of bright curves on a ground that is uneven, and which pixels are of a curve."""
    rows, columns = np.mgrid[:32, :32]
    x, y = np.empty((count, 3, 32, 32), np.float32), np.zeros((count, 32, 32), np.int64)
    for image in range(count):
        for _ in range(2):
            start, slope, bend, wide = draw.uniform([2, -1, 1, 0.8], [30, 1, 5, 2.0])
            along = start + slope * (columns - 16) + bend * np.sin(columns / 5 + start)
            y[image] |= np.abs(rows - along) / np.sqrt(1 + slope**2) < wide
        ground = 0.3 * np.sin(rows / 9 + start) + 0.3 * np.cos(columns / 11)
        seen = 0.8 * y[image] + ground
        x[image] = seen + 0.5 * draw.standard_normal((3, 32, 32))
    return x, y


def tones(count: int, draw: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ten kinds of sound: two tones each, with phases and a length at random, under noise."""
    y, time_s = draw.integers(10, size=count), np.arange(8000) / 8000
    x = np.empty((count, 1, 8000), np.float32)
    for sound, kind in enumerate(y):
        first, second = 300 + 90 * (kind % 5), 900 + 400 * (kind // 5)
        phases, ends = draw.uniform(0, 2 * np.pi, 2), np.sort(draw.uniform(0, 1, 2))
        heard = (time_s > ends[0] * 0.4) & (time_s < 0.6 + 0.4 * ends[1])
        wave = np.sin(2 * np.pi * first * time_s + phases[0])
        wave = wave + np.sin(2 * np.pi * second * time_s + phases[1])
        x[sound, 0] = heard * wave + draw.standard_normal(8000)
    return x, y.astype(np.int64)


MAKERS = {"irnet": gratings, "unet": curves, "m5": tones}


def data_of(task: str) -> Path:
    """The file of a task's images, made where it is not there."""
    path = FOLDER / f"{task}.npz"
    if not path.exists():
        draw, arrays = np.random.default_rng(1), dict[str, Any]()
        for part, count in zip(("train", "validation", "test"), SIZES[task], strict=True):
            made = MAKERS[task](count, draw)
            arrays |= {f"x_{part}": made[0], f"y_{part}": made[1]}
        np.savez(path, **arrays)
    return path


def target_of(task: str) -> Target:
    """1-bit weights but in the first and last layer and shortcuts, which have 8, on ideal cells."""
    if task == "m5":
        return Target.of(load_device("ideal"), weight_bits=8)
    names = {"irnet": ("stem*", "*short*", "head*"), "unet": ("down.0.conv1*", "head*")}[task]
    return Target.of(load_device("ideal"), weight_bits=1, bits=dict.fromkeys(names, 8))


def source_of(task: str) -> Path:
    """The untrained network."""
    path = FOLDER / f"{task}.onnx"
    if not path.exists():
        torch.manual_seed(0)
        if task == "m5":
            export_onnx(M5(10), (1, 8000), path)
            return path
        network = IrNetResNet(width=8) if task == "irnet" else UNet(width=8, levels=3)
        images = [torch.zeros((2, 3, 32, 32))]
        export_module(network, images, path, ["image"], ["logits"], optimize=False)
    return path


def trained(task: str, row: str, seed: int) -> Path:
    """The network that a row trains."""
    path = FOLDER / f"{task}-{row.removesuffix(', one pass')}-{seed}.onnx"
    if path.exists():
        return path
    method, options, _ = ROWS[row]
    own = {
        "epochs": EPOCHS[task],
        "batch": BATCH,
        "rate": RATE[task],
        "seed": seed,
        "estimator": "ede",
    }
    settings = Settings.model_validate(
        {**own, "every": 0, "keep": "last", "chips": 2, "percentile": 50.0}
    )
    job = make_task(data_of(task).as_posix(), target_of(task), settings=settings)
    train(source_of(task), job, make_method(method, options), output=path)
    return path


def still_binary(path: Path, target: Target) -> bool:
    """Whether each output channel of every 1-bit layer has one magnitude."""
    model = load_model(path)
    Canonicalize()(model)
    for layer in layers_of(model):
        weight = layer.weights[0].source
        if target.of_layer(layer.node.name or "", str(weight.name)).weight_bits != 1:
            continue
        for channel in np.abs(finite_array(weight)):
            if np.ptp(channel) > 1e-6 * channel.max():
                return False
    return True


def compiled(path: Path, task: str) -> Compiled:
    folder = path.with_suffix(".nvmc")
    if folder.exists():
        return open_compiled(folder)
    return compile_model(path, target_of(task), output=folder)


def measured(task: str, row: str, seed: int, noise: str) -> dict[str, Any]:
    """Mean, spread and KPP of chips on the test images."""
    started, path = time.process_time(), trained(task, row, seed)
    sources = [] if noise == "none" else [noise + (AT[task] if "activation" in noise else "")]
    found = simulate(
        compiled(path, task),
        runs=CHIPS if sources else 2,
        data=str(data_of(task)),
        metric=METRIC[task],
        noise=sources,
        mc_passes=ROWS[row][2],
        percentile=5.0,
        seed=seed,
        jobs=1,
    )
    return {
        "mean": found.summary.mean,
        "std": found.summary.std,
        "kpp": found.kpp.value,
        "ideal": found.ideal,
        "binary": still_binary(path, target_of(task)),
        "cpu_seconds": time.process_time() - started,
    }


def table(found: list[dict[str, Any]], task: str) -> str:
    """Mean ± deviation over chips and the 5th percentile, in %, means over seeds."""
    own = [f for f in found if f["task"] == task]
    shown = [row for row in ROWS if any(f["row"] == row for f in own)]
    title = "mIoU" if METRIC[task] == "miou" else "accuracy"
    lines = [f"| {title} [%] | {' | '.join(shown)} |", f"| --- |{' ---: |' * len(shown)}"]
    for noise in NOISE[task]:
        cells: list[str] = []
        for row in shown:
            at = [f for f in own if f["row"] == row and f["noise"] == noise]
            if not at:
                cells.append("")
                continue
            mean, std, kpp = (
                100 * statistics.mean(f[key] or 0.0 for f in at) for key in ("mean", "std", "kpp")
            )
            cells.append(f"{mean:.1f} ± {std:.1f}, {kpp:.1f}" if noise != "none" else f"{mean:.1f}")
        lines.append(f"| {noise.replace(':', ' ')} | {' | '.join(cells)} |")
    seeds = {row: len({f["seed"] for f in own if f["row"] == row}) for row in shown}
    told = f"Seeds: {', '.join(f'{row} {n}' for row, n in seeds.items())}."
    if task != "m5":
        told += f" Still binary: {'all' if all(f['binary'] for f in own) else 'not all'}."
    return "\n".join([*lines, "", told])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tasks", default="m5,irnet,unet")
    options.add_argument("--rows", default=";".join(ROWS), help="separated by ;")
    options.add_argument("--seeds", default="0")
    options.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    chosen = options.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, names = record_file(__file__), ("task", "row", "seed", "noise")
    jobs = [
        dict(zip(names, (task, row, int(seed), noise), strict=True))
        for seed in chosen.seeds.split(",")
        for task in chosen.tasks.split(",")
        for row in chosen.rows.split(";")
        for noise in NOISE[task]
    ]
    done = {tuple(f[name] for name in names) for f in records(path)}
    for job in jobs if not chosen.table else []:
        if tuple(job.values()) not in done:
            keep(path, {**job, **measured(**job)})
    found = {tuple(f[name] for name in names): f for f in records(path)}
    for task in chosen.tasks.split(","):
        wanted = [tuple(job.values()) for job in jobs if job["task"] == task]
        own = [found[job] for job in wanted if job in found]
        missing = lacking(len(wanted), len(own))
        figures(__file__, task, table(own, task), missing=missing, made=own)


if __name__ == "__main__":
    main()
