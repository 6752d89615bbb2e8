"""BayesFT's experiments: methods under log-normal drift, and the ablation before.

Fig. 3a and 3b: the perceptron of three layers and LeNet-5, trained by each method and evaluated as
chips whose weights drift by e^lambda, lambda ~ N(0, sigma^2). Fig. 2: what a network is made of,
trained plainly; here biases and normalisation drift too (`--store`), as in the paper. Every
training starts from random weights named by its seed and gets the same epochs; the weights of the
last one are taken. The test split is seen once, by chips that are the same for all.

Every (experiment, row, seed) is a file in build/study_bayesft, written when it is done, so a killed
run goes on where it was.

On MNIST batches have 128 images and chips see the first 1,000 of the test split.

Usage: python tests/benchmarks/study_bayesft.py [--only fig3|fig3b|ablation] [--seeds 3] [--docs]
       python tests/benchmarks/study_bayesft.py --only fig3 --data mnist:DIR --epochs 20
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import onnx_ir as ir
import torch
from figures import figures, lacking, parser, source
from onnx import helper, numpy_helper
from torch import Tensor

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.evaluation.simulation import simulate
from nvmc.hardware.devices import Target, load_device
from nvmc.models import resolve_model
from nvmc.passes.insert_dropout import InsertDropout
from nvmc.passes.io.save import save_model
from nvmc.report.curves import Axis, Curve, draw_curves
from nvmc.statistics import percentile_performance
from nvmc.training import Settings, make_method, make_task, train
from nvmc.training.method import Method
from nvmc.training.methods.bayes_noise import BayesNoise

ROOT = Path(__file__).resolve().parents[2] / "build" / "study_bayesft"
SIGMAS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
TRAINED_AT = 0.9
"""Sigma that methods are told which look at the device; the paper's text names none."""
CHIPS, PERCENTILE = 60, 5.0
WIDTHS: Mapping[int, tuple[int, ...]] = {
    3: (784, 256, 128, 10),
    6: (784, 392, 256, 128, 64, 32, 10),
    9: (784, 512, 256, 128, 64, 64, 32, 16, 16, 10),
}
"""Widths by layers; of 6 and 9 those of the paper's released code."""
Store = tuple[Literal["bias", "norm"], ...]


class AlphaDropout(Method):
    """Plain training with alpha dropout behind every layer but the last (Klambauer et al., 2017).

    Attributes:
        rate: Probability of a drop.
    """

    kind: ClassVar[str] = "alpha-dropout"
    title: ClassVar[str] = "alpha dropout"

    rate: float = 0.2

    def begin(self, run: Any) -> None:
        run.memory["sites"] = list(BayesNoise().sites(run.model).values())

    def loss(
        self, run: Any, replica: Any, x: Tensor, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        tap = partial(self.dropped, generator=generator)
        weights = self.weights(run, replica, generator)
        taps = dict.fromkeys(run.memory["sites"], tap)
        return run.criterion(replica(x, weights, generator, taps), y)

    def dropped(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Dropped elements take SELU's floor; mean and variance are restored."""
        floor, q = -1.7580993408473766, 1 - self.rate
        scale = (q + floor**2 * q * self.rate) ** -0.5
        kept = torch.rand(x.shape, generator=generator) < q
        return scale * torch.where(kept, x, floor) - scale * self.rate * floor


Nodes = list[onnx.NodeProto]
Arrays = dict[str, np.ndarray[Any, Any]]
Part = Callable[[str, int], tuple[Nodes, Arrays]]
"""What stands behind layer `name` of that width: it reads NAME_sum and writes NAME_norm."""


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], output, **attributes)


def batch_norm(name: str, width: int) -> tuple[Nodes, Arrays]:
    """Over the batch, each feature on its own."""
    own = {f"{name}_{what}": np.zeros(width, np.float32) for what in ("beta", "mean")}
    own |= {f"{name}_{what}": np.ones(width, np.float32) for what in ("gamma", "var")}
    inputs = [f"{name}_sum", *(f"{name}_{what}" for what in ("gamma", "beta", "mean", "var"))]
    return [_node("BatchNormalization", inputs, f"{name}_norm")], own


def layer_norm(name: str, width: int) -> tuple[Nodes, Arrays]:
    """Over the features of an image."""
    own = {f"{name}_gamma": np.ones(width, np.float32), f"{name}_beta": np.zeros(width, np.float32)}
    inputs = [f"{name}_sum", *own]
    return [_node("LayerNormalization", inputs, f"{name}_norm", axis=-1)], own


def grouped_norm(name: str, width: int, *, groups: int) -> tuple[Nodes, Arrays]:
    """Over `groups` groups of features, each with its own two parameters."""
    own: Arrays = {
        f"{name}_split": np.array([0, groups, -1]),
        f"{name}_whole": np.array([0, -1]),
        f"{name}_gamma": np.ones(groups, np.float32),
        f"{name}_beta": np.zeros(groups, np.float32),
    }
    split, whole, gamma, beta = own
    nodes = [
        _node("Reshape", [f"{name}_sum", split], f"{name}_grouped"),
        _node("InstanceNormalization", [f"{name}_grouped", gamma, beta], f"{name}_normed"),
        _node("Reshape", [f"{name}_normed", whole], f"{name}_norm"),
    ]
    return nodes, own


def perceptron(
    depth: int = 3, norm: Part | None = None, activation: str = "Relu"
) -> onnx.ModelProto:
    """Linear layers, each but the last followed by norm, activation, dropout, as asked for."""
    nodes: Nodes = [_node("Flatten", ["image"], "x0")]
    arrays: Arrays = {}
    widths = WIDTHS[depth]
    for number, (before, after) in enumerate(zip(widths, widths[1:], strict=False), 1):
        name, last = f"fc{number}", number == depth
        arrays |= {f"{name}_w": np.full((after, before), 0.01, np.float32)}
        arrays |= {f"{name}_b": np.zeros(after, np.float32)}
        inputs = [f"x{number - 1}", f"{name}_w", f"{name}_b"]
        nodes.append(_node("Gemm", inputs, "logits" if last else f"{name}_sum", transB=1))
        if not last:
            more, own = norm(name, after) if norm else ([], {})
            behind = f"{name}_norm" if norm else f"{name}_sum"
            nodes += [*more, _node(activation, [behind], f"x{number}")]
            arrays |= own
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", ["N", 1, 28, 28]), ("logits", ["N", 10]))
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, f"mlp{depth}", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        method: How it is trained.
        build: The network before training.
        dropout: Rate of Dropout nodes behind every layer but the last.
        store: What drifts beside the weights.
        settings: What is set otherwise.
    """

    method: Callable[[], Method]
    build: Callable[[], onnx.ModelProto] = perceptron
    dropout: float = 0.0
    store: Store = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def lenet5() -> onnx.ModelProto:
    """LeNet-5 of the zoo."""
    return onnx.load(resolve_model("zoo:lenet5-digits"))


def _named(kind: str, **options: Any) -> Row:
    return Row(lambda: make_method(kind, options))


def _made(dropout: float = 0.0, store: Store = ("bias", "norm"), **parts: Any) -> Row:
    build = partial(perceptron, **parts)
    return Row(lambda: make_method("erm"), build, dropout, store)


EXPERIMENTS: dict[str, dict[str, Row]] = {
    "fig3": {
        "erm": _named("erm"),
        "awp": _named("awp"),
        "ftna": _named("ftna"),
        "ftna, 8 bits, hard": _named("ftna", length=8, decoding="hard"),
        "reram-v": _named("reram-v"),
        "bayesft": _named("bayesft", interval=4),
        "bayesft, 1 epoch a trial": _named("bayesft", interval=1),
        "bayesft, ei": _named("bayesft", interval=4, acquisition="ei"),
        "bayesft, loss": _named("bayesft", interval=4, objective="loss"),
        "bayesft, inject": _named("bayesft", interval=4, inject=True),
        "bayes-noise": _named("bayes-noise", interval=4),
        "gaussian": _named("gaussian"),
        "erm, clipped": Row(lambda: make_method("erm"), settings={"clip": 1.5}),
        "hwa": _named("hwa"),
    },
    "ablation": {
        "3 layers, ReLU": _made(),
        "dropout 0.2": _made(0.2),
        "dropout 0.5": _made(0.5),
        "alpha dropout 0.2": Row(AlphaDropout, store=("bias", "norm")),
        "BatchNorm": _made(norm=batch_norm),
        "LayerNorm": _made(norm=layer_norm),
        "InstanceNorm": _made(norm=partial(grouped_norm, groups=1)),
        "GroupNorm, 8 groups": _made(norm=partial(grouped_norm, groups=8)),
        "BatchNorm, digital": _made(norm=batch_norm, store=()),
        "LayerNorm, digital": _made(norm=layer_norm, store=()),
        "6 layers": _made(depth=6),
        "9 layers": _made(depth=9),
        "leaky ReLU": _made(activation="LeakyRelu"),
        "ELU": _made(activation="Elu"),
        "GELU": _made(activation="Gelu"),
    },
}
EXPERIMENTS["fig3b"] = {
    name: replace(row, build=lenet5) for name, row in EXPERIMENTS["fig3"].items()
}


def _titles(*names: str) -> dict[str, str]:
    return {name: name for name in names}


TABLES: dict[str, tuple[str, str, dict[str, str]]] = {
    "fig3": ("fig3", "digits", _titles("erm", "awp", "ftna", "reram-v", "bayesft")),
    "fig3-variants": (
        "fig3",
        "digits",
        _titles(
            *("bayesft, ei", "bayesft, loss", "bayesft, inject"),
            *("bayes-noise", "gaussian", "ftna, 8 bits, hard"),
        ),
    ),
    "fig3-mnist": (
        "fig3",
        "mnist",
        {
            "erm": "erm",
            "erm, clipped": "erm, `--clip 1.5`",
            **_titles("awp", "ftna", "ftna, 8 bits, hard", "reram-v"),
            "bayesft, 1 epoch a trial": "bayesft",
            **_titles("gaussian", "hwa"),
        },
    ),
    "fig3b-mnist": (
        "fig3b",
        "mnist",
        {"erm": "erm", "bayesft, 1 epoch a trial": "bayesft", "hwa": "hwa"},
    ),
    "ablation": ("ablation", "digits", _titles(*EXPERIMENTS["ablation"])),
}
"""Key of a table -> its experiment, data, and the titles of its rows."""


@dataclass(frozen=True)
class Cell:
    """One training and its chips."""

    experiment: str
    name: str
    seed: int
    epochs: int
    data: str = field(repr=False)
    row: Row = field(repr=False, compare=False)

    @property
    def path(self) -> Path:
        """The file that holds what was found."""
        name = "".join(c if c.isalnum() else "-" for c in self.name)
        data = "" if self.data == "digits" else f"-{self.data.partition(':')[0]}"
        return ROOT / f"{self.experiment}{data}-{name}-seed{self.seed}-{self.epochs}epochs.json"


def run(cell: Cell) -> dict[str, Any]:
    """Train a network, make chips of it, and see how they do."""
    target = Target.of(load_device("reram-lognormal"))
    small = cell.data == "digits"
    plain = {
        "init": "random",
        "every": 0,
        "keep": "last",
        "chips": 20,
        "batch": 64 if small else 128,
    }
    own = {"epochs": cell.epochs, "seed": cell.seed}
    settings = Settings.model_validate({**plain, **own, **cell.row.settings})
    task = make_task(
        cell.data,
        target,
        sigma=TRAINED_AT,
        settings=settings,
        validation_limit=None if small else 1000,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_network(cell.row, folder / "in.onnx")
        outcome = train(folder / "in.onnx", task, cell.row.method(), output=folder / "trained.onnx")
        compiled = compile_model(
            folder / "trained.onnx",
            target,
            CompileOptions(store=cell.row.store),
            output=folder / "trained.nvmc",
        )
        limit = None if small else 1000
        found = [
            simulate(compiled, runs=CHIPS, data=cell.data, limit=limit, sigma=sigma, jobs=1)
            for sigma in SIGMAS
        ]
    return {
        "experiment": cell.experiment,
        "row": cell.name,
        "seed": cell.seed,
        "seconds": outcome.seconds,
        "summary": outcome.summary,
        "ideal": found[0].ideal,
        "values": [list(map(float, each.values)) for each in found],
    }


def write_network(row: Row, path: Path) -> None:
    """Write the network of a row as ONNX, Dropout nodes with it."""
    model = ir.from_proto(row.build())
    if row.dropout:
        InsertDropout(rate=row.dropout)(model)
    save_model(model, path)


def measure(cells: list[Cell]) -> None:
    """Run what has no file yet."""
    ROOT.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(cells, 1):
        if cell.path.exists():
            continue
        started = time.perf_counter()
        try:
            found = {**run(cell), **source()}
        except Exception as error:  # the others go on without it
            print(f"{cell}: {type(error).__name__}: {error}", flush=True)
            continue
        temporary = cell.path.with_suffix(".part")
        temporary.write_text(json.dumps(found))
        os.replace(temporary, cell.path)
        print(f"{number}/{len(cells)} {cell} {time.perf_counter() - started:.0f} s", flush=True)


def results(cells: list[Cell]) -> list[dict[str, Any]]:
    """What is there of some cells."""
    return [json.loads(cell.path.read_text()) for cell in cells if cell.path.exists()]


def table(found: list[dict[str, Any]], titles: Mapping[str, str]) -> str:
    """Mean accuracy in % over chips, with its spread over seeds; 5th percentile in brackets."""
    lines = [
        f"| | {' | '.join(f'σ {sigma:g}' for sigma in SIGMAS)} |",
        f"|{' --- |' * (len(SIGMAS) + 1)}",
    ]
    for name, title in titles.items():
        own = [each["values"] for each in found if each["row"] == name]
        texts = [_text([each[i] for each in own]) if own else "" for i in range(len(SIGMAS))]
        lines.append(f"| {' | '.join([title, *texts])} |")
    return "\n".join(lines)


def _text(chips: list[list[float]]) -> str:
    means = [100 * statistics.mean(values) for values in chips]
    spread = f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else ""
    low = statistics.mean(100 * _kpp(values).value for values in chips)
    return f"{statistics.mean(means):.1f}{spread} ({low:.1f})"


def show(key: str, cells: list[Cell]) -> None:
    """Print one of TABLES, and write it on its page where that is asked for."""
    titles = TABLES[key][2]
    found = results(own := [cell for cell in cells if cell.name in titles])
    for name in titles:
        taken = [each["seconds"] for each in found if each["row"] == name]
        if taken:
            print(f"{name}: {statistics.mean(taken):.0f} s a training, {len(taken)} seeds")
    wanted = len(titles) * len({cell.seed for cell in cells})
    missing = lacking(wanted, len(found)) or lacking(wanted, len(own))
    figures(__file__, key, table(found, titles), missing=missing, made=found)


def _kpp(values: list[float]) -> Any:
    return percentile_performance(np.array(values), PERCENTILE)


def picture(cells: list[Cell], experiment: str) -> Path:
    """Draw all rows over sigma, the chips of all seeds together."""
    curves: list[Curve] = []
    for name in dict.fromkeys(cell.name for cell in cells):
        found = results([cell for cell in cells if cell.name == name])
        chips = [[v for each in found for v in each["values"][i]] for i in range(len(SIGMAS))]
        if not found:
            continue
        ideal = statistics.mean(each["ideal"] for each in found)
        kpps = [_kpp(values) for values in chips]
        means = [statistics.mean(values) for values in chips]
        curves.append(Curve(name, means, kpps, [ideal] * len(SIGMAS)))
    path = ROOT / f"{experiment}.png"
    draw_curves(
        path,
        [f"{experiment}, {cells[0].data}, log-normal drift; {CHIPS} chips a seed"],
        "accuracy",
        Axis("sigma of the drift", SIGMAS),
        curves,
    )
    return path


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=sorted(EXPERIMENTS))
    options.add_argument("--rows", help="names of rows, separated by semicolons")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=80)
    options.add_argument("--data", default="digits", help="digits or mnist:DIR")
    options.add_argument("--table", action="store_true", help="only show what is there")
    given = options.parse_args()
    torch.set_num_threads(1)
    chosen = None if given.rows is None else given.rows.split(";")
    cells = [
        Cell(experiment, name, seed, given.epochs, given.data, row)
        for seed in range(given.seeds)
        for experiment in ([given.only] if given.only else EXPERIMENTS)
        for name, row in EXPERIMENTS[experiment].items()
        if chosen is None or name in chosen
    ]
    if not given.table:
        measure(cells)
    for experiment in dict.fromkeys(cell.experiment for cell in cells):
        own = [cell for cell in cells if cell.experiment == experiment]
        if results(own):
            print(f"\n{experiment}: {picture(own, experiment)}")
        for key, (of, data, _) in TABLES.items():
            if of == experiment and data == given.data.partition(":")[0]:
                show(key, own)


if __name__ == "__main__":
    main()
