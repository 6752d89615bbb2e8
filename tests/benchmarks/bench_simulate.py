"""Seconds per chip of `nvmc simulate` against a plain PyTorch loop, in the same run.

LeNet-5, 10,000 images of 1x28x28, fefet2, 4-bit weights in 2-bit cells. The baseline is what this
field does: a PyTorch module, its weights perturbed in place, batches of 500, PyTorch's default
threads. Usage: python tests/benchmarks/bench_simulate.py [--docs]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from figures import figures, parser, table
from measure import interleaved
from onnx import numpy_helper
from torch import nn

from nvmc import Target, compile_model, load_device, simulate
from nvmc.data import Dataset, load_data
from nvmc.models import resolve_model

IMAGES, CHIPS, REPEATS, SIGMA = 10_000, 32, 5, 0.1


def images() -> Dataset:
    """The digits' test split, repeated up to 10,000 images."""
    digits = load_data("digits")
    order = np.arange(IMAGES) % len(digits.x)
    assert digits.y is not None
    return Dataset("digits x 10,000", digits.x[order], digits.y[order])


def lenet5(path: Path) -> nn.Sequential:
    """The zoo's LeNet-5 as a PyTorch module with the same weights."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    stored = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]
    for parameter in model.parameters():
        match = next(w for w in stored if w.shape == tuple(parameter.shape))
        stored = [w for w in stored if w is not match]
        parameter.data = torch.tensor(match)
    return model.eval()


def torch_loop(model: nn.Module, data: Dataset, chips: int) -> None:
    """So many chips the plain way."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    clean = [w.detach().clone() for w in weights]
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    with torch.no_grad():
        for _ in range(chips):
            for w, c in zip(weights, clean, strict=True):
                w.copy_(c + SIGMA * c.abs().max() / 15 * torch.randn_like(c))
            for first in range(0, len(x), 500):
                batch = slice(first, first + 500)
                int((model(x[batch]).argmax(1) == y[batch]).sum())
        for w, c in zip(weights, clean, strict=True):
            w.copy_(c)


def main() -> None:
    parser(__doc__).parse_args()
    source = resolve_model("zoo:lenet5-digits")
    data = images()
    model = lenet5(source)
    with tempfile.TemporaryDirectory() as folder:
        target = Target.of(load_device("fefet2"))
        compiled = compile_model(source, target, output=Path(folder) / "lenet5.nvmc")
        medians = interleaved(
            {
                "PyTorch loop": lambda: torch_loop(model, data, CHIPS),
                "nvmc simulate": lambda: simulate(compiled, runs=CHIPS, data=data, sigma=SIGMA),
            },
            REPEATS,
        )
    base = medians["PyTorch loop"]
    rows = [
        [name, f"{seconds / CHIPS:.3f}", f"{base / seconds:.1f}"]
        for name, seconds in medians.items()
    ]
    figures(__file__, "lenet5", table(["", "seconds per chip", "speed"], rows))


if __name__ == "__main__":
    main()
