"""A small detector on drawn scenes: COCO's mAP of chips, through non-maximum suppression.

The kind of network that BayesFT judges on pedestrians (Ye et al., DAC 2021, Fig. 3j: Mask R-CNN on
PennFudanPed), at a size that a processor trains in minutes, on scenes of squares and discs. Its
maps are trained in torch (nvmc trains no boxes), once as they are and once with log-normal drift of
sigma 0.3 on every weight in every step (noise injection); the exported networks, with their
suppression inside, are compiled with 8-bit weights, and chips drift by sigma (BayesFT, Eq. 1).

Each network with its chips at one sigma is a line of records/study_detector.jsonl, so a killed run
goes on where it was. OMP_NUM_THREADS=1 is the setting it was run at.

Usage: python tests/benchmarks/study_detector.py [--seeds 0] [--table] [--docs]
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import figures, keep, lacking, parser, record_file, records
from torch.func import functional_call

from nvmc import Compiled, Target, compile_model, load_device, open_compiled, simulate
from nvmc.models.detector import Detector, DetectorMaps, detection_loss, nms_translations
from nvmc.models.export import export_module
from nvmc.models.scenes import draw_scenes

ROOT = Path(__file__).resolve().parents[2] / "build"
FOLDER = ROOT / "study_detector"
ROWS = {"plain": 0.0, "noise injected": 0.3}
"""Sigma of the drift in training."""
SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
TRAINED, TESTED, EPOCHS, BATCH, RATE, CHIPS = 600, 60, 30, 32, 3e-3, 40


def drifted(maps: DetectorMaps, sigma: float, draws: torch.Generator) -> dict[str, torch.Tensor]:
    """The weights of convolutions on a fresh chip, with the gradient of the clean ones."""
    return {
        name: value * torch.exp(sigma * torch.randn(value.shape, generator=draws))
        for name, value in maps.named_parameters()
        if value.ndim == 4
    }


def trained(row: str, seed: int) -> Path:
    """The detector that a row trains, as ONNX."""
    path = FOLDER / f"{row.replace(' ', '-')}-{seed}.onnx"
    if path.exists():
        return path
    torch.manual_seed(seed)
    images, boxes = (torch.tensor(part) for part in draw_scenes(TRAINED, 1))
    maps, draws = DetectorMaps().train(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(maps.parameters(), RATE)
    steps = EPOCHS * -(-TRAINED // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAINED, generator=draws).split(BATCH):
            weights = drifted(maps, ROWS[row], draws) if ROWS[row] else {}
            found = functional_call(maps, weights, (images[batch],))
            optimizer.zero_grad()
            detection_loss(found, boxes[batch], maps.classes).backward()
            optimizer.step()
            schedule.step()
    names, example = ["boxes", "scores", "labels"], torch.zeros((1, 3, 48, 48))
    export_module(
        Detector(maps).eval(),
        [example],
        path,
        ["image"],
        names,
        free=False,
        translations=nms_translations(),
    )
    return path


def compiled(path: Path) -> Compiled:
    folder = path.with_suffix(".nvmc")
    if folder.exists():
        return open_compiled(folder)
    target = Target.of(load_device("ideal"), weight_bits=8)
    return compile_model(path, target, output=folder)


def data() -> Path:
    """The scenes that chips are judged on, and the boxes in them."""
    path = FOLDER / "scenes.npz"
    if not path.exists():
        x, y = draw_scenes(TESTED, 2)
        np.savez(path, x=x, y=y)
    return path


def measured(row: str, seed: int, sigma: float) -> dict[str, Any]:
    """mAP of chips at one sigma."""
    started = time.process_time()
    found = simulate(
        compiled(trained(row, seed)),
        runs=CHIPS if sigma else 2,
        data=str(data()),
        metric="map",
        noise=[f"lognormal-drift:sigma={sigma}"] if sigma else [],
        percentile=5.0,
        seed=seed,
        jobs=1,
    )
    of = {"mean": found.summary.mean, "std": found.summary.std, "kpp": found.kpp.value}
    return {**of, "ideal": found.ideal, "cpu_seconds": time.process_time() - started}


def table(found: list[dict[str, Any]]) -> str:
    """Mean ± deviation over chips and the 5th percentile, in %, means over seeds."""
    lines = [f"| mAP [%] | {' | '.join(ROWS)} |", f"| --- |{' ---: |' * len(ROWS)}"]
    for sigma in SIGMAS:
        cells: list[str] = []
        for row in ROWS:
            at = [f for f in found if f["row"] == row and f["sigma"] == sigma]
            if not at:
                cells.append("")
                continue
            mean, std, kpp = (
                100 * statistics.mean(f[key] or 0.0 for f in at) for key in ("mean", "std", "kpp")
            )
            cells.append(f"{mean:.1f} ± {std:.1f}, {kpp:.1f}" if sigma else f"{mean:.1f}")
        lines.append(f"| drift, sigma {sigma:g} | {' | '.join(cells)} |")
    seeds = {row: len({f["seed"] for f in found if f["row"] == row}) for row in ROWS}
    return "\n".join([*lines, "", f"Seeds: {', '.join(f'{row} {n}' for row, n in seeds.items())}"])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", default="0")
    options.add_argument("--table", action="store_true", help="print the table, measure nothing")
    chosen = options.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, names = record_file(__file__), ("row", "seed", "sigma")
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    jobs = [
        dict(zip(names, one, strict=True))
        for one in ((row, seed, sigma) for seed in seeds for row in ROWS for sigma in SIGMAS)
    ]
    done = {tuple(f[name] for name in names) for f in records(path)}
    for job in jobs if not chosen.table else []:
        if tuple(job.values()) not in done:
            keep(path, {**job, **measured(**job)})
    found = {tuple(f[name] for name in names): f for f in records(path)}
    own = [found[tuple(job.values())] for job in jobs if tuple(job.values()) in found]
    figures(__file__, "drift", table(own), missing=lacking(len(jobs), len(own)), made=own)


if __name__ == "__main__":
    main()
