"""Train the zoo: `python -m nvmc.models.train lenet5-digits` writes `lenet5-digits.onnx`.

Every random number comes from generators seeded by the recipe, and torch is held to one thread
and deterministic algorithms: on one machine the same command writes the same bytes.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nvmc.data import Split, load_data
from nvmc.errors import OptionError
from nvmc.metrics import correct
from nvmc.models.augment import Affine, Moves
from nvmc.models.binary import set_progress
from nvmc.models.detector import Detector, DetectorMaps, detection_loss
from nvmc.models.export import export_network
from nvmc.models.initialised import initialised
from nvmc.models.networks import network_named
from nvmc.models.recipes import RECIPES, Recipe
from nvmc.models.scenes import SCENES, draw_scenes

__all__ = [
    "RECIPES",
    "Recipe",
    "Score",
    "evaluate",
    "main",
    "tensors",
    "train",
    "trainable",
    "write_trained",
]

TURNED = {"validation": 1, "test": 2}
"""Seeds of the angles by which a split is turned."""


@dataclass(frozen=True)
class Score:
    """How good a network is on a split.

    Attributes:
        loss: The recipe's, the mean over images.
        hits: Images that are classified right; None where there are no classes.
        images: How many there are.
    """

    loss: float
    hits: int | None
    images: int

    @property
    def order(self) -> tuple[int, float]:
        """Greater is better."""
        return self.hits or 0, -self.loss

    def __str__(self) -> str:
        if self.hits is None:
            return f"loss {self.loss:.4f}, root {math.sqrt(self.loss):.4f}, {self.images} inputs"
        share = self.hits / self.images
        return f"{self.hits} of {self.images} correct ({share:.2%}), loss {self.loss:.4f}"


def train(recipe: Recipe, data: str | None = None) -> nn.Module:
    """A network trained by the recipe, in evaluation mode.

    Args:
        recipe: What to do.
        data: The data set, as `nvmc.data.load_data` names it; the recipe's by default.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    model = initialised(trainable(recipe), generator)
    images, labels = tensors(recipe, "train", data)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    best: Score | None = None
    kept, criterion = copy.deepcopy(model.state_dict()), _criterion(recipe)
    for epoch in range(recipe.epochs):
        set_progress(model, epoch / recipe.epochs)
        model.train()
        for chosen in _batches(len(images), recipe.batch, generator):
            shown, wanted = _shown(recipe, images[chosen], labels[chosen], generator)
            loss = criterion(model(shown), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        score = evaluate(model, recipe, "validation", data)
        if best is None or score.order > best.order:
            best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model.eval()


def trainable(recipe: Recipe) -> nn.Module:
    """The module that is trained: the network, or its part in front of what has no gradient."""
    if recipe.loss == "boxes":
        return DetectorMaps(dropout=recipe.dropout)
    return network_named(recipe.network).module()


def write_trained(recipe: Recipe, path: Path, data: str | None = None) -> nn.Module:
    """Train a network and write its ONNX file; returns the module that was trained."""
    model = train(recipe, data)
    whole = Detector(model) if isinstance(model, DetectorMaps) else model
    export_network(whole, network_named(recipe.network), path)
    return model


def evaluate(model: nn.Module, recipe: Recipe, split: Split, data: str | None = None) -> Score:
    """How good a network is on a split; leaves it in evaluation mode."""
    images, labels = tensors(recipe, split, data)
    criterion, total, hits = _criterion(recipe), 0.0, 0
    whole = recipe.data == "digits"  # which the shipped files were chosen by
    with torch.no_grad():
        for part in torch.split(torch.arange(len(images)), len(images) if whole else 1000):
            outputs: Tensor = model.eval()(images[part])
            total += criterion(outputs, labels[part]).item() * len(part)
            if recipe.loss == "classes":
                hits += correct(outputs.numpy(), labels[part].numpy())
    found = hits if recipe.loss == "classes" else None
    return Score(total / len(images), found, len(images))


def tensors(recipe: Recipe, split: Split, data: str | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, …) and what is known of them: classes (N, …), values (N, …) or boxes (N, G, 6)."""
    if recipe.data == "scenes":
        x, boxes = draw_scenes(*SCENES[split])
        return torch.tensor(x), torch.tensor(boxes)
    found = load_data(data or recipe.data, split)
    images = torch.tensor(found.x)
    if recipe.turned and split != "train":
        generator = torch.Generator().manual_seed(TURNED[split])
        images = Affine(recipe.turned, 0.0, 0.0)(images, generator)
    known = found.targets if recipe.loss == "values" else found.y
    if known is None:
        raise OptionError(f"{found.name} has no {recipe.loss}, which this recipe trains for")
    return images, torch.tensor(np.asarray(known))


def main(arguments: list[str] | None = None) -> None:
    """Train one network and write its ONNX file; prints its accuracy and digest."""
    parser = argparse.ArgumentParser(prog="python -m nvmc.models.train", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("-o", "--output", type=Path, help="file to write; default NAME.onnx")
    parser.add_argument("--data", help="the data with their folder, such as mnist:DIR")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.name]
    data: str | None = options.data
    if data is None and recipe.data not in ("digits", "co2", "scenes"):
        parser.error(f"{options.name} is trained on {recipe.data}; say where: --data")
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    path: Path = options.output or Path(f"{options.name}.onnx")
    model = write_trained(recipe, path, data)
    for split in ("validation", "test"):
        print(f"{split}: {evaluate(model, recipe, split, data)}")
    print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def _criterion(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss, a mean over images."""
    if recipe.loss == "boxes":
        return lambda maps, boxes: detection_loss(maps, boxes, maps.shape[1] - 4)
    return functional.mse_loss if recipe.loss == "values" else functional.cross_entropy


def _shown(
    recipe: Recipe, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images as they are shown this time, and their labels."""
    if recipe.crop or recipe.flip:
        moves = Moves(recipe.turn, recipe.scale, recipe.shift, recipe.crop, recipe.flip)
        maps = labels if labels.ndim > 1 else None
        shown, moved = moves(images, generator, maps, -100)
        return shown, labels if moved is None else moved
    if recipe.turn or recipe.scale or recipe.shift:
        return Affine(recipe.turn, recipe.scale, recipe.shift)(images, generator), labels
    return images, labels


def _batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of one epoch's batches, in a drawn order."""
    yield from torch.split(torch.randperm(count, generator=generator), batch)


if __name__ == "__main__":
    main()
