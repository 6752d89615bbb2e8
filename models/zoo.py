"""The trained networks that ship with nvmc, by name."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from nvmc.errors import ModelError, unknown
from nvmc.models.networks import NETWORKS

__all__ = ["PREFIX", "ZOO", "ZooModel", "no_trained_file", "resolve_model", "zoo_path"]

PREFIX = "zoo:"


@dataclass(frozen=True)
class ZooModel:
    """One shipped network.

    Attributes:
        file: Name of its ONNX file in `nvmc/models/pretrained`.
        data: The data set, as `nvmc.data.load_data` names it; `mnist:DIR` where it does not ship.
        images: Inputs in the test split.
        sha256: Digest of the file.
        trained: The command and versions that made the file.
        correct: Hits on the test split, run by onnxruntime on the CPU; None of others.
        rmse: Of a forecast on the test split, in standard deviations of the training years.
        average_precision: Of a detector on the test split, COCO's mean over overlaps.
        turned: Degrees by up to which the test images were turned first.
    """

    file: str
    data: str
    images: int
    sha256: str
    trained: str
    correct: int | None = None
    rmse: float | None = None
    average_precision: float | None = None
    turned: float = 0.0

    @property
    def accuracy(self) -> float:
        """Accuracy on the test split, as a fraction; NaN of what does not classify."""
        return math.nan if self.correct is None else self.correct / self.images

    @property
    def stated(self) -> str:
        """How good it is, in words."""
        turned = f" turned by up to {self.turned:g}°" if self.turned else ""
        where = f"{self.data}{turned}"
        if self.rmse is not None:
            return f"RMSE {self.rmse:.4f} on {self.images} test windows of {where}"
        if self.average_precision is not None:
            return (
                f"mAP {100 * self.average_precision:.1f} % on {self.images} test images of {where}"
            )
        share = f"{self.correct:,} of {self.images:,} test images of {where} right"
        return f"{share} ({100 * self.accuracy:.2f} %)"

    def as_json(self) -> dict[str, object]:
        """Everything but the digest, for `nvmc models --json`."""
        known = ("correct", "rmse", "average_precision")
        score = {name: getattr(self, name) for name in known if getattr(self, name) is not None}
        told = {"data": self.data, "images": self.images, **score}
        return {**told, "turned_degrees": self.turned, "trained": self.trained}


ZOO: Mapping[str, ZooModel] = MappingProxyType(
    {
        "lenet5-digits": ZooModel(
            file="lenet5-digits.onnx",
            data="digits",
            correct=529,
            images=531,
            sha256="cefe665f276322153e6e59201d96ea0b0b3866e958830163aa564e212738aa60",
            trained="python -m nvmc.models.train lenet5-digits; seed 0, torch 2.13.0 (CPU)",
        ),
        "mlp3-digits": ZooModel(
            file="mlp3-digits.onnx",
            data="digits",
            correct=524,
            images=531,
            sha256="9149627a4d4f66cc0000d21934ef2560e166f930cf2d8e768665cfbaaff351ca",
            trained="python -m nvmc.models.train mlp3-digits; seed 0, torch 2.13.0 (CPU)",
        ),
        "lenet5-mnist": ZooModel(
            file="lenet5-mnist.onnx",
            data="mnist:DIR",
            correct=9913,
            images=10_000,
            sha256="a8f9ede8644602e5f769731f6b18f176676d81e7f0342a21f68f31688171cfda",
            trained="python -m nvmc.models.train lenet5-mnist; seed 0, torch 2.13.0 (CPU)",
        ),
        "mlp3-mnist": ZooModel(
            file="mlp3-mnist.onnx",
            data="mnist:DIR",
            correct=9837,
            images=10_000,
            sha256="03e44791ec887999b856c8ec6dabf04e4a590d01518c5de741512a2f6c56cf55",
            trained="python -m nvmc.models.train mlp3-mnist; seed 0, torch 2.13.0 (CPU)",
        ),
        "stn-mnist": ZooModel(
            file="stn-mnist.onnx",
            data="mnist:DIR",
            correct=9871,
            images=10_000,
            turned=60.0,
            sha256="6d1688adbaf29553266bc812156fa55daa0a0c9cb4983e921951c666258e5c53",
            trained="python -m nvmc.models.train stn-mnist; seed 0, torch 2.13.0 (CPU)",
        ),
        "detector-scenes": ZooModel(
            file="detector-scenes.onnx",
            data="drawn scenes",
            images=200,
            average_precision=0.7948,
            sha256="e0a7b6090e660ab16e31c80e4c119ae84fbe7b174d0ef729351a16ae346d86db",
            trained="python -m nvmc.models.train detector-scenes; seed 0, torch 2.13.0 (CPU)",
        ),
        "forecast-co2": ZooModel(
            file="forecast-co2.onnx",
            data="co2",
            images=343,
            rmse=0.4075,
            sha256="c9798dc3b292cfc4b23774e388b529433af562f37e1d0aff3c037f3074d4eed6",
            trained="python -m nvmc.models.train forecast-co2; seed 0, torch 2.13.0 (CPU)",
        ),
    }
)


def zoo_path(name: str) -> Path:
    """The ONNX file of a shipped network.

    Args:
        name: A key of `ZOO`, such as `lenet5-digits`.

    Raises:
        ModelError: The name is unknown, or the file is missing or not the one in the table.
    """
    if name not in ZOO:
        raise no_trained_file(name)
    path = Path(str(resources.files("nvmc.models"))) / "pretrained" / ZOO[name].file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
    if found != ZOO[name].sha256:
        raise ModelError(
            f"{path} holds {found[:12]}, expected {ZOO[name].sha256[:12]} (SHA-256); install nvmc "
            "again"
        )
    return path


def no_trained_file(name: str) -> ModelError:
    """The error that says that there is no `zoo:NAME`, and what can be typed in its place."""
    trained = NETWORKS[name].pretrained if name in NETWORKS else ()
    if trained:
        return ModelError(
            f"{PREFIX}{name} is a network, not a trained file; give {_choices(trained)}"
        )
    if name in NETWORKS:
        return ModelError(
            f"{PREFIX}{name} has no trained weights in nvmc; `nvmc models export {name} -o "
            f"{name}.onnx` writes it with random ones (train it: docs/zoo.md)"
        )
    return ModelError(unknown("model", PREFIX + name, [PREFIX + one for one in ZOO]))


def _choices(trained: Sequence[str]) -> str:
    return " or ".join(f"{PREFIX}{name}" for name in trained)


def resolve_model(text: str) -> Path:
    """The file that a model argument names: `zoo:NAME`, or else a path, which may not exist.

    Raises:
        ModelError: `zoo:` is followed by an unknown name, or is lacking before a known one, or the
            shipped file is damaged.
    """
    if text.startswith(PREFIX):
        return zoo_path(text.removeprefix(PREFIX))
    path = Path(text)
    if (text in ZOO or text in NETWORKS) and not path.exists():
        trained = (text,) if text in ZOO else NETWORKS[text].pretrained
        if not trained:
            raise no_trained_file(text)
        raise ModelError(f"there is no file {text!r}; did you mean {_choices(trained)}?")
    return path
