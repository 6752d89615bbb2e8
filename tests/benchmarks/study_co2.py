"""Forecasting carbon dioxide with two LSTM layers: inverted normalisation against plain training.

The experiment of Ahmed et al. (DATE 2024), Table I and Fig. 6b: weekly CO2, two LSTM layers and a
dense one, 8-bit weights, noise on the weights, 100 chips, RMSE in standard deviations of the
training years (less is better). The paper does not say how it splits the series, so there are two
ways: `shuffled` windows (70 % train, test values within the range that was trained), and
`years`, as `--data co2` splits it (train to 1988, test from 1995: values above all trained ones).

Row `invnorm, gates` has the normalisation within the cells, on the sums of the four gates at every
step, where no pass can put it: it is defined and trained in torch here, unrolled, with the same
budget, and judged by nvmc like the others, its dropout off.

Each training and its chips under one noise is a line of records/study_co2.jsonl, so a killed run
goes on where it was; networks stay in build/study_co2. It was run with OMP_NUM_THREADS=1.

Usage: python tests/benchmarks/study_co2.py [--splits shuffled,years] [--rows plain] [--table]
       [--docs]
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import figures, keep, lacking, parser, record_file, records
from torch import Tensor, nn

from nvmc import Compiled, Target, compile_model, load_device, open_compiled, simulate
from nvmc.data import load_data
from nvmc.hardware.devices import parse_noise
from nvmc.models.export import export_onnx
from nvmc.models.forecast import Forecast
from nvmc.training import Settings, make_method, make_task, train

ROOT = Path(__file__).resolve().parents[2] / "build"
FOLDER = ROOT / "study_co2"
NOISE = (
    "none",
    *[f"additive:sigma={s}" for s in (0.05, 0.2)],
    *[f"multiplicative:sigma={s}" for s in (0.2, 0.8)],
    *[f"uniform:amplitude={s}" for s in (0.1, 0.3)],
    *[f"bitflip:p={p}" for p in (0.01, 0.05, 0.1, 0.2)],
)
PAPER = {
    "none": "0.1264, invnorm 0.1219",
    "additive": "invnorm up to -30.2 %",
    "multiplicative": "invnorm up to -46.7 %",
    "uniform": "a curve",
    "bitflip": "invnorm up to -51.84 %",
}
"""What the paper says of each noise; strengths stand in its curves only."""
SPLITS = ("shuffled", "years")
HIDDEN, EPOCHS, BATCH, RATE, CHIPS, PASSES, WINDOWS = 16, 25, 64, 1e-2, 100, 3, 150


@dataclass(frozen=True)
class Row:
    """A way to train; `passes` are averaged at inference, None for networks that draw nothing."""

    method: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    passes: int | None = None


ROWS: dict[str, Row] = {
    "plain": Row("erm"),
    "invnorm, each": Row("invnorm", {"recurrent": "each"}, passes=PASSES),
    "invnorm, last": Row("invnorm", {"recurrent": "last"}, passes=PASSES),
    "plain, clipped": Row("erm", settings={"clip": 2.0}),
    "hwa": Row("hwa"),
    "invnorm, gates": Row("torch"),
    "spindrop": Row("spindrop", passes=PASSES),
    "invnorm, each, one pass": Row("invnorm", {"recurrent": "each", "active": False}),
}


class Cells(nn.Module):
    """An LSTM layer whose gates' sums have an inverted normalisation, step by step."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 4 * HIDDEN)
        self.state = nn.Linear(HIDDEN, 4 * HIDDEN, bias=False)
        for weight in self.parameters():
            nn.init.uniform_(weight, -(HIDDEN**-0.5), HIDDEN**-0.5)
        self.gamma = nn.Parameter(1 + 0.3 * torch.randn(4 * HIDDEN))
        self.beta = nn.Parameter(0.3 * torch.randn(4 * HIDDEN))

    def forward(self, steps: list[Tensor]) -> list[Tensor]:
        """States (N, HIDDEN) of each step from inputs (N, inputs); coins are thrown a batch."""
        drops = torch.rand(2) < 0.3 if self.training else torch.zeros(2, dtype=torch.bool)
        gamma = torch.where(drops[0], torch.ones_like(self.gamma), self.gamma)
        beta = torch.where(drops[1], torch.zeros_like(self.beta), self.beta)
        if not self.training:
            gamma, beta = self.gamma, self.beta
        h = c = torch.zeros_like(self.input(steps[0])[:, :HIDDEN])
        found: list[Tensor] = []
        for x in steps:
            sums = (self.input(x) + self.state(h)) * gamma + beta
            i, f, g, o = nn.functional.layer_norm(sums, (4 * HIDDEN,)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            found.append(h)
        return found


class GatedForecast(nn.Module):
    """`Forecast` with `Cells`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.dense = Cells(1), Cells(HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, weeks: Tensor) -> Tensor:
        """The forecast."""
        steps = [weeks[:, k] for k in range(24)]
        return self.dense(self.second(self.first(steps))[-1])


def trained_in_torch(path: Path, split: str, seed: int, epochs: int) -> None:
    """Train a `GatedForecast` as nvmc does by default (AdamW, a cosine) and export it."""
    torch.manual_seed(seed)
    data = load_data(data_of(split), "train")
    x, y = torch.tensor(data.x), torch.tensor(np.asarray(data.targets))
    network = GatedForecast().train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // BATCH))
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    export_onnx(network, (24, 1), path)


def data_of(split: str) -> str:
    """What `--data` names; writes the shuffled windows as an .npz file first."""
    if split == "years":
        return "co2"
    path = FOLDER / "shuffled.npz"
    if not path.exists():
        parts = [load_data("co2", part) for part in ("train", "validation", "test")]
        x = np.concatenate([part.x for part in parts])
        y = np.concatenate([np.asarray(part.targets) for part in parts])
        order = np.random.default_rng(0).permutation(len(x))
        ends = len(x) * 70 // 100, len(x) * 85 // 100
        cut = dict(zip(("train", "validation", "test"), np.split(order, ends), strict=True))
        arrays = {f"{k}_{part}": v[at] for part, at in cut.items() for k, v in (("x", x), ("y", y))}
        np.savez(path, **arrays)
    return f"{path}"


def trained(row: str, split: str, seed: int, epochs: int) -> Path:
    """The network that a row trains, from the random weights that the seed names."""
    path = FOLDER / f"{row.replace(', ', '-').replace(' ', '-')}-{split}-{seed}-{epochs}.onnx"
    if path.exists():
        return path
    way = ROWS[row]
    if way.method == "torch":
        trained_in_torch(path, split, seed, epochs)
        return path
    source = FOLDER / "forecast.onnx"
    if not source.exists():
        torch.manual_seed(0)
        export_onnx(Forecast(HIDDEN), (24, 1), source)
    own = {"epochs": epochs, "batch": BATCH, "rate": RATE, "init": "random", "seed": seed}
    settings = Settings.model_validate(
        {**own, "every": 0, "keep": "last", "chips": 2, "percentile": 50.0, **way.settings}
    )
    target = Target.of(load_device("additive"), weight_bits=8)
    task = make_task(data_of(split), target, sigma=0.1, settings=settings)
    train(source, task, make_method(way.method, way.options), output=path)
    return path


def compiled(path: Path) -> Compiled:
    """8-bit weights in 2-bit cells, whose own noise every run turns off."""
    folder = path.with_suffix(".nvmc")
    if folder.exists():
        return open_compiled(folder)
    return compile_model(
        path, Target.of(load_device("rram4"), weight_bits=8, cell_bits=2), output=folder
    )


def measured(row: str, split: str, seed: int, noise: str, epochs: int, chips: int) -> Any:
    """RMSE of chips on the first WINDOWS of the test windows, which are in random order."""
    path, started = trained(row, split, seed, epochs), time.process_time()
    sources = [] if noise == "none" else [parse_noise(noise)]
    found = simulate(
        compiled(path),
        runs=chips if sources else 2,
        data=data_of(split),
        limit=WINDOWS,
        metric="rmse",
        sigma=0.0,
        noise=sources,
        mc_passes=ROWS[row].passes,
        seed=seed,
        jobs=1,
    )
    used = time.process_time() - started
    return {"mean": found.summary.mean, "std": found.summary.std, "cpu_seconds": used}


def table(found: list[dict[str, Any]], split: str, rows: list[str]) -> str:
    """RMSE: means over seeds of mean and deviation over chips; then its change from plain's."""
    own = [f for f in found if f["split"] == split]
    shown = [row for row in rows if any(f["row"] == row for f in own)]
    lines = [f"| {split} | {' | '.join(shown)} | paper |", f"| --- |{' ---: |' * len(shown)} --- |"]
    for noise in NOISE:
        at = {row: [f for f in own if f["row"] == row and f["noise"] == noise] for row in shown}
        cells = [_cell(at[row], at.get("plain", []) if row != "plain" else []) for row in shown]
        told = PAPER[noise.partition(":")[0]]
        lines.append(f"| {noise.replace(':', ' ')} | {' | '.join(cells)} | {told} |")
    seeds = {row: len({f["seed"] for f in own if f["row"] == row}) for row in shown}
    return "\n".join([*lines, "", f"Seeds: {', '.join(f'{row} {n}' for row, n in seeds.items())}"])


def _cell(own: list[dict[str, Any]], plain: list[dict[str, Any]]) -> str:
    """The change is over the seeds that both have."""
    if not own:
        return ""
    mean, std = (statistics.mean(f[key] or 0.0 for f in own) for key in ("mean", "std"))
    pairs = [(f["mean"], p["mean"]) for f in own for p in plain if f["seed"] == p["seed"]]
    if not pairs:
        return f"{mean:.3f} ± {std:.3f}"
    mine, theirs = (statistics.mean(numbers) for numbers in zip(*pairs, strict=True))
    return f"{mean:.3f} ± {std:.3f} ({100 * (mine / theirs - 1):+.0f} %)"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--splits", default=",".join(SPLITS))
    options.add_argument("--rows", default=";".join(ROWS), help="separated by ;")
    options.add_argument("--seeds", default="0,1,2")
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--chips", type=int, default=CHIPS)
    options.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    chosen = options.parse_args()
    splits, rows = chosen.splits.split(","), chosen.rows.split(";")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, names = record_file(__file__), ("split", "seed", "row", "noise", "epochs", "chips")
    jobs = [
        dict(zip(names, (s, int(k), r, n, chosen.epochs, chosen.chips), strict=True))
        for s in splits
        for k in chosen.seeds.split(",")
        for r in rows
        for n in NOISE
    ]
    done = {tuple(f[name] for name in names) for f in records(path)}
    for job in jobs if not chosen.table else []:
        if tuple(job.values()) not in done:
            keep(path, {**job, **measured(**job)})
    found = {tuple(f[name] for name in names): f for f in records(path)}
    for split in splits:
        wanted = [tuple(job.values()) for job in jobs if job["split"] == split]
        own = [found[job] for job in wanted if job in found]
        missing = lacking(len(wanted), len(own))
        figures(__file__, split, table(own, split, rows), missing=missing, made=own)


if __name__ == "__main__":
    main()
