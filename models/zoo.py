"""The trained networks that ship with nvmc, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from nvmc.errors import ModelError, unknown

__all__ = ["ZOO", "ZooModel", "resolve_model", "zoo_path"]

PREFIX = "zoo:"


@dataclass(frozen=True)
class ZooModel:
    """One shipped network.

    Attributes:
        file: Name of its ONNX file in `nvmc/models/pretrained`.
        data: The data set, as `nvmc.data.load_data` names it.
        correct: Hits on the data set's test split, run by onnxruntime on the CPU.
        images: Images in the test split.
        sha256: Digest of the file.
        trained: The command and versions that made the file.
    """

    file: str
    data: str
    correct: int
    images: int
    sha256: str
    trained: str

    @property
    def accuracy(self) -> float:
        """Accuracy on the test split, as a fraction."""
        return self.correct / self.images


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
        raise ModelError(unknown("zoo model", name, ZOO))
    path = Path(str(resources.files("nvmc.models"))) / "pretrained" / ZOO[name].file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
    if found != ZOO[name].sha256:
        raise ModelError(
            f"{path} holds {found[:12]}, expected {ZOO[name].sha256[:12]} (SHA-256); install nvmc "
            "again"
        )
    return path


def resolve_model(text: str) -> Path:
    """The file that a model argument names: `zoo:NAME`, or else a path, which is not looked at.

    Raises:
        ModelError: `zoo:` is followed by an unknown name, or the shipped file is damaged.
    """
    return zoo_path(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else Path(text)
