"""Networks of the zoo for users: as torch modules, and as ONNX files."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvmc.arguments import checked
from nvmc.errors import ModelError, OptionError, unknown
from nvmc.models.networks import NETWORKS, Network, network_named
from nvmc.models.zoo import PREFIX, ZOO, no_trained_file, zoo_path

if TYPE_CHECKING:
    from torch import nn

__all__ = ["export_model", "is_trained", "model", "pretrained_of", "write_untrained"]


@checked
def model(name: str, *, seed: int = 0) -> Any:  # torch.nn.Module, which is loaded late
    """A network of the zoo as a torch module with random weights, in evaluation mode.

    `nvmc.compile` and `nvmc.train` take it as it is. Trained weights come as files: `zoo:NAME`, or
    `export_model(..., pretrained=True)`.

    Args:
        name: A network that `nvmc models` lists, such as `vgg8`.
        seed: Names the weights.

    Raises:
        ModelError: There is no network of that name.
        OptionError: torch is not installed, or the seed is negative.
    """
    return _made(network_named(name), seed)


@checked
def export_model(
    name: str,
    output: str | Path,
    *,
    pretrained: bool = False,
    seed: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> Path:
    """Write a network of the zoo as an ONNX file.

    Args:
        name: A network that `nvmc models` lists; or a trained one (`zoo:lenet5-digits`).
        output: The file to write; its folder exists. One that is there is replaced.
        pretrained: Whether with trained weights. They ship with nvmc for some networks.
        seed: Names the random weights of a network that is not trained; 0 by default.
        shape: Of one input, where the network allows another than the table's: channels, rows,
            columns.

    Returns:
        The file.

    Raises:
        ModelError: There is no network of that name, no trained one, or it does not take the shape.
        OptionError: What is asked for contradicts itself, torch is missing, or there is no folder.
    """
    path = Path(output)
    if not path.absolute().parent.is_dir():
        raise OptionError(f"{path.parent} is no folder; make it, or name another file")
    shipped = name.removeprefix(PREFIX)
    if is_trained(name):
        pretrained = True
    elif name.startswith(PREFIX):
        raise no_trained_file(shipped)
    elif name not in NETWORKS:
        raise ModelError(unknown("model", name, dict.fromkeys([*NETWORKS, *ZOO])))
    if not pretrained:
        write_untrained(network_named(name), path, 0 if seed is None else seed, shape)
        return path
    if seed is not None or shape is not None:
        what = "seed" if seed is not None else "shape"
        raise OptionError(f"{what} is given for a trained network, which has its own; leave it out")
    trained = shipped if shipped in ZOO else pretrained_of(name)
    with tempfile.TemporaryDirectory(dir=path.absolute().parent) as folder:
        temporary = Path(folder) / path.name
        temporary.write_bytes(zoo_path(trained).read_bytes())
        os.replace(temporary, path)
    return path


def is_trained(name: str) -> bool:
    """Whether a name alone means trained weights: `zoo:NAME`, or one that no network has."""
    shipped = name.removeprefix(PREFIX)
    return shipped in ZOO and (name.startswith(PREFIX) or shipped not in NETWORKS)


def pretrained_of(name: str) -> str:
    """The trained file of a network, by its name in `ZOO`; the preferred one of several.

    Raises:
        ModelError: There is no network of that name, or none trained.
    """
    network = network_named(name)
    if not network.pretrained:
        have = ", ".join(row.name for row in NETWORKS.values() if row.pretrained)
        raise ModelError(
            f"model {name} has no trained weights here; those of {have} have. Train it: docs/zoo.md"
        )
    return network.pretrained[0]


def _made(network: Network, seed: int) -> nn.Module:
    """The network with the weights that the seed names."""
    if seed < 0:
        raise OptionError(f"seed is {seed}, expected 0 or more")
    module = network.module()
    import torch

    from nvmc.models.initialised import initialised

    return initialised(module, torch.Generator().manual_seed(seed), biases=True).eval()


def write_untrained(
    network: Network, path: Path, seed: int, shape: tuple[int, ...] | None = None
) -> None:
    """Write a network with the random weights that a seed names, its normalisations in the graph.

    Args:
        network: A row of the table, or one with other options.
        path: The file; its folder exists.
        seed: Names the weights.
        shape: Of one input; the network's by default.

    Raises:
        ModelError: The network does not take the shape.
        OptionError: torch is not installed.
    """
    if shape is not None and (len(shape) != len(network.shape) or min(shape) < 1):
        raise ModelError(
            f"shape {_text(shape)} does not fit {network.name}, which takes {_text(network.shape)}"
        )
    module = _made(network, seed)
    from nvmc.models.export import export_network, has_batchnorm

    if shape is not None:
        _try(module, network, shape)
    # The exporter would fold BatchNormalization into layers, and what is folded is not trained;
    # nvmc trains no network with boxes.
    kept = not network.single and has_batchnorm(module)
    export_network(module, replace(network, computed=network.computed or kept), path, shape)


def _try(module: Any, network: Network, shape: tuple[int, ...]) -> None:
    """Run the module on the shape, so that one that does not fit says so."""
    import torch

    try:
        with torch.no_grad():
            module(torch.zeros((1, *shape)))
    except RuntimeError as error:
        raise ModelError(
            f"{network.name} does not take inputs {_text(shape)} ({str(error).splitlines()[0]}); "
            f"its own are {_text(network.shape)}"
        ) from error


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
