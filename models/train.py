"""Train the zoo: `python -m nvmc.models.train lenet5-digits` writes `lenet5-digits.onnx`.

Every random number comes from generators seeded by the recipe, and torch is held to one thread
and deterministic algorithms: on one machine the same command writes the same bytes.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nvmc.data import Split, load_data
from nvmc.metrics import correct
from nvmc.models.augment import Affine
from nvmc.models.export import export_onnx
from nvmc.models.lenet5 import LeNet5
from nvmc.models.mlp3 import Mlp3

__all__ = ["RECIPES", "Recipe", "evaluate", "main", "train"]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained on the train split of `digits`.

    AdamW with a one-cycle learning rate of peak `rate`, cross entropy; of all epochs, the weights
    that score best on the validation split are kept (the lower loss among equals). Each time an
    image is shown, it is `moved`.
    """

    build: Callable[[], nn.Module]
    epochs: int = 60
    batch: int = 32
    rate: float = 3e-3
    decay: float = 1e-2
    moved: Affine = Affine()
    seed: int = 0


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {"lenet5-digits": Recipe(LeNet5), "mlp3-digits": Recipe(Mlp3, epochs=120)}
)


def train(recipe: Recipe) -> nn.Module:
    """A network trained by the recipe, in evaluation mode."""
    generator = torch.Generator().manual_seed(recipe.seed)
    model = _initialised(recipe.build(), generator)
    images, labels = _tensors("train")
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    best, kept = (-1, -math.inf), copy.deepcopy(model.state_dict())
    for _ in range(recipe.epochs):
        model.train()
        for chosen in _batches(len(images), recipe.batch, generator):
            shown = recipe.moved(images[chosen], generator)
            loss = functional.cross_entropy(model(shown), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        hits, loss = evaluate(model, "validation")
        if (hits, -loss) > best:
            best, kept = (hits, -loss), copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model.eval()


def evaluate(model: nn.Module, split: Split) -> tuple[int, float]:
    """Hits and mean cross entropy on a split of `digits`; leaves the model in evaluation mode."""
    images, labels = _tensors(split)
    with torch.no_grad():
        logits: Tensor = model.eval()(images)
        loss = functional.cross_entropy(logits, labels).item()
    return correct(logits.numpy(), labels.numpy()), loss


def main(arguments: list[str] | None = None) -> None:
    """Train one network and write its ONNX file; prints its accuracy and digest."""
    parser = argparse.ArgumentParser(prog="python -m nvmc.models.train", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("-o", "--output", type=Path, help="file to write; default NAME.onnx")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.name]
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = train(recipe)
    path: Path = options.output or Path(f"{options.name}.onnx")
    export_onnx(model, (1, 28, 28), path)
    for split in ("validation", "test"):
        hits, loss = evaluate(model, split)
        count = len(load_data("digits", split).x)
        print(f"{split}: {hits} of {count} correct ({hits / count:.2%}), loss {loss:.4f}")
    print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def _initialised(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """He-uniform weights and zero biases (He et al., ICCV 2015), drawn from the generator."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return model


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) and labels (N,) of `digits`."""
    data = load_data("digits", split)
    return torch.tensor(data.x), torch.tensor(np.asarray(data.y))


def _batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of one epoch's batches, in a drawn order."""
    yield from torch.split(torch.randperm(count, generator=generator), batch)


if __name__ == "__main__":
    main()
