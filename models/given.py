"""Networks as users have them at hand: a file, an ONNX model in memory, a torch module."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from nvmc.data import Data, load_data
from nvmc.errors import ModelError, OptionError, with_article
from nvmc.models.zoo import resolve_model

__all__ = ["as_file"]


@contextlib.contextmanager
def as_file(
    source: Any, example: Any = None, data: Data | None = None, *, trained: bool = False
) -> Generator[Path]:
    """The ONNX file of a network, for as long as the context lasts where it is none yet.

    Args:
        source: A path, or `zoo:NAME`; an `onnx.ModelProto`; or a `torch.nn.Module`, which is
            exported with a free first axis by `torch.onnx.export(dynamo=True)` in evaluation mode.
            Its inputs get the names of the arguments of `forward`.
        example: Of a module: an input with its batch axis, or several in a tuple, or by name in a
            dict; by default the first images of `data`.
        data: See `example`.
        trained: Whether it will be trained: a module's BatchNormalization is kept then, which the
            exporter otherwise folds into the layers before it.

    Raises:
        OptionError: The source is another thing, or an example is lacking or given in vain.
        ModelError: torch cannot export the module.
    """
    is_module = _is_module(source)
    if example is not None and not is_module:
        raise OptionError(
            f"example is given beside {_kind(source)}; only a torch module needs one, leave it out"
        )
    if isinstance(source, str | Path):
        yield resolve_model(str(source))
        return
    with TemporaryDirectory(prefix="nvmc-") as folder:
        path = Path(folder) / f"{_name(source)}.onnx"
        if is_module:
            _export(source, example, data, path, trained)
        elif hasattr(source, "SerializeToString") and hasattr(source, "graph"):
            try:
                path.write_bytes(source.SerializeToString())
            except Exception as error:  # protobuf's own, of models beyond 2 GB
                raise ModelError(
                    f"the model cannot be written as one message ({error}); save it with external "
                    "data and give the file"
                ) from error
        else:
            raise OptionError(
                f"the network is {_kind(source)}; expected a path, an onnx.ModelProto or a "
                "torch.nn.Module"
            )
        yield path


def _is_module(source: Any) -> bool:
    """Whether it is a torch module; whoever has one has loaded torch."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def _kind(source: Any) -> str:
    return "a path" if isinstance(source, str | Path) else with_article(type(source).__name__)


def _name(source: Any) -> str:
    """A file's name for it: a module's class, a model's graph."""
    graph = getattr(source, "graph", None)
    name = type(source).__name__ if _is_module(source) else str(getattr(graph, "name", ""))
    return re.sub(r"\W+", "-", name).strip("-").lower()[:60] or "network"


def _export(module: Any, example: Any, data: Data | None, path: Path, trained: bool) -> None:
    """Write a torch module as ONNX."""
    try:
        from nvmc.models.export import export_module, has_batchnorm
    except ImportError as error:
        raise OptionError(
            f"exporting a torch module needs {error.name}, which is not installed; pip install "
            "'nvmc[train]'"
        ) from error
    names = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    inputs = _inputs(names, _example(example, data))
    _try(module, inputs)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # torch logs pages about what it raises
    try:
        kept = trained and has_batchnorm(module)
        export_module(module, list(inputs.values()), path, list(inputs), optimize=not kept)
    except Exception as error:  # torch's exporter raises anything, over many lines
        raise ModelError(
            f"torch cannot export {type(module).__name__} with a free batch axis "
            f"({_cause(error)}); export it with torch.onnx.export and give the file"
        ) from error
    finally:
        logging.disable(before)


def _try(module: Any, inputs: Mapping[str, Any]) -> None:
    """Run the module once, in evaluation mode, so that an example that does not fit says so."""
    import torch

    mode = module.training
    try:
        with torch.no_grad():
            module.eval()(*inputs.values())
    except Exception as error:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items())
        raise ModelError(
            f"{type(module).__name__} fails on its example ({shapes}): {_cause(error)}; give one "
            "that it takes, with its batch axis"
        ) from error
    finally:
        module.train(mode)


def _cause(error: Exception) -> str:
    """The line of torch's message that says what is wrong, without colours."""
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error))
    summary = text.rpartition("Exception summary")[2]
    lines = [line.strip() for line in summary.splitlines() if line.strip("# \t")]
    return lines[0][:200] if lines else type(error).__name__


def _example(example: Any, data: Data | None) -> Any:
    if example is not None:
        return example
    if data is None:
        raise OptionError("a torch module is given without example=, an input with its batch axis")
    found = load_data(data, "train", 2)
    return dict(found.inputs) if found.inputs else found.x


def _inputs(names: Sequence[str], example: Any) -> dict[str, Any]:
    """A tensor of at least two rows for each input, by its name."""
    import torch

    if isinstance(example, Mapping):
        given = cast("Mapping[str, Any]", example)
        unknown = [name for name in given if name not in names]
        if unknown:
            raise OptionError(
                f"example has {', '.join(unknown)}, but forward takes {', '.join(names) or 'none'}"
            )
        named = {name: given[name] for name in names if name in given}
    else:
        listed = cast("Sequence[Any]", example if isinstance(example, tuple | list) else [example])
        if len(listed) > len(names):
            raise OptionError(
                f"example has {len(listed)} inputs, but forward takes {', '.join(names) or 'none'}"
            )
        named = dict(zip(names, listed, strict=False))
    found: dict[str, Any] = {}
    for name, value in named.items():
        tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
        if tensor.ndim == 0 or len(tensor) == 0:
            raise OptionError(f"example of {name} has no rows; give a batch of at least one")
        found[name] = torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor[:2]
    return found
