"""How the networks of the zoo are trained: one literal table. Importing it loads no torch.

The papers state hardly any recipe: TRICE 100 epochs and 5 of warm-up, and otherwise "the best
practice in training a noise-free model"; BayesFT Xavier's initialisation; inverted normalisation
that settings "will be published". So these are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["RECIPE", "RECIPES", "Recipe"]

RECIPE = 1
"""Version of what decides a network that nvmc trains: the definitions of `NETWORKS`, their first
weights, and training. Raised with every change of a number, as `PHYSICS` is for chips, so that
`nvmc reproduce` does not take networks from before for networks of now."""


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW with a one-cycle learning rate of peak `rate`.

    Of all epochs the weights that score best on the validation split are kept, the lower loss among
    equals.

    Attributes:
        network: A key of `NETWORKS`.
        data: The data set, as `load_data` names it without its folder; `scenes` are drawn.
        loss: Cross entropy of `classes`, squared error of `values`, or the detector's of `boxes`.
        epochs: Passes over the train split.
        batch: Images a step.
        rate: Peak of the learning rate.
        decay: Of the weights.
        turn: Each time an image is shown, it is turned by up to so many degrees,
        scale: scaled by up to this share,
        shift: and shifted by up to so many pixels,
        crop: or cut out of its surroundings of so many zeros,
        flip: or mirrored in this share of the cases.
        dropout: Rate behind every layer but the last; the detector's only.
        turned: Validation and test images are turned once by up to so many degrees, drawn by seeds
            1 and 2.
        seed: Names the random numbers.
    """

    network: str
    data: str
    loss: Literal["classes", "values", "boxes"] = "classes"
    epochs: int = 60
    batch: int = 32
    rate: float = 3e-3
    decay: float = 1e-2
    turn: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    crop: int = 0
    flip: float = 0.0
    dropout: float = 0.0
    turned: float = 0.0
    seed: int = 0


def _digits(network: str, epochs: int) -> Recipe:
    return Recipe(network, "digits", epochs=epochs, turn=12.0, scale=0.1, shift=2.0)


def _mnist(network: str, epochs: int) -> Recipe:
    return Recipe(network, "mnist", epochs=epochs, batch=64)


def _cifar(network: str) -> Recipe:
    return Recipe(network, "cifar10", epochs=100, batch=128, crop=4, flip=0.5)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "lenet5-digits": _digits("lenet5", 60),
        "mlp3-digits": _digits("mlp3", 120),
        "lenet5-mnist": _mnist("lenet5", 6),
        "mlp3-mnist": _mnist("mlp3", 6),
        "stn-mnist": Recipe("stn-mnist", "mnist", epochs=6, batch=64, turn=60.0, turned=60.0),
        "forecast-co2": Recipe("forecast", "co2", "values", 25, 64, rate=1e-2),
        "detector-scenes": Recipe("detector", "scenes", "boxes", 30),
        "alexnet-cifar10": _cifar("alexnet"),
        "vgg8-cifar10": _cifar("vgg8"),
        "vgg11-cifar10": _cifar("vgg11"),
        "vgg16-cifar10": _cifar("vgg16"),
        "resnet18-cifar10": _cifar("resnet18"),
        "preact18-cifar10": _cifar("preact18"),
        "preact50-cifar10": _cifar("preact50"),
        "preact152-cifar10": _cifar("preact152"),
        "irnet-resnet18-cifar10": _cifar("irnet-resnet18"),
        "stn-gtsrb": Recipe("stn-gtsrb", "gtsrb", epochs=30, batch=128, turn=10.0, shift=2.0),
        "m5-speech-commands": Recipe("m5", "speech-commands", epochs=40, batch=128),
        "unet-drive": Recipe("unet", "drive", epochs=200, batch=2, flip=0.5),
    }
)
"""Name -> recipe; `python -m nvmc.models.train NAME` carries it out."""
