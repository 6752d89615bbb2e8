"""Registering the provider with onnxruntime, and sessions on it."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import onnxruntime  # pyright: ignore[reportMissingTypeStubs]

from nvmc.arguments import checked
from nvmc.compiled.artifact import Compiled, open_compiled
from nvmc.compiled.generations import finish
from nvmc.errors import ModelError, ProviderError
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import load_device
from nvmc.runtime.missing import HOW
from nvmc.runtime.provider.options import ProviderOptions
from nvmc.runtime.provider.session import use_chip
from nvmc.runtime.sessions import crashing_optimisers, keep_values

try:
    from nvmc.runtime.provider import _shim
except ImportError:  # not built
    _shim = None

__all__ = ["PROVIDER_NAME", "check_version", "make_session", "register_provider"]

PROVIDER_NAME = "NvmcExecutionProvider"

_ort: Any = onnxruntime
_registering = Lock()


def check_version(found: str, lowest: str) -> None:
    """Raise ProviderError where onnxruntime `found` is older than `lowest`."""
    if _numbers(found) < _numbers(lowest):
        raise ProviderError(
            f"onnxruntime is {found}, but {PROVIDER_NAME} needs {lowest} or newer; upgrade "
            "onnxruntime"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _library() -> tuple[Path, str]:
    """The shared library and the lowest onnxruntime that it works with."""
    if _shim is None:
        raise ProviderError(
            f"{PROVIDER_NAME} is not compiled here, and onnxruntime takes no other; "
            f"`nvmc simulate` and `nvmc.make_session` work without it: {HOW}"
        )
    return Path(_shim.__file__), _shim.LOWEST_ONNXRUNTIME


def _devices() -> list[Any]:
    return [device for device in _ort.get_ep_devices() if device.ep_name == PROVIDER_NAME]


@checked
def register_provider() -> list[Any]:
    """Make the provider known to onnxruntime; again is no error, from any thread.

    Returns:
        The `OrtEpDevice`s to give to `SessionOptions.add_provider_for_devices`.

    Raises:
        ProviderError: onnxruntime is too old, or does not load the provider.
    """
    path, lowest = _library()
    check_version(_ort.__version__, lowest)
    with _registering:
        if not _devices():
            try:
                _ort.register_execution_provider_library(PROVIDER_NAME, str(path))
            except Exception as error:
                raise ProviderError(
                    f"onnxruntime {_ort.__version__} does not load {str(path)!r}: {error}"
                ) from error
        return _devices()


def _file(model: str | Path) -> str:
    """The path of a model, whose compilation may have been killed before it was in place."""
    finish(Path(model).parent)
    return str(model)


def _plain(error: Exception) -> str:
    """The message without onnxruntime's own prefix, `[ONNXRuntimeError] : 1 : FAIL : `."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))


@checked
def make_session(
    model: str | Path | bytes | Compiled,
    *,
    chip: int | Literal["ideal"] | Chip = 0,
    seed: int = 0,
    sigma: float | None = None,
    device: str | None = None,
    time_s: float | None = None,
    first_image: int = 0,
    images: int | None = None,
    turns: int = 1,
    threads: int = 1,
    quiet: bool = False,
) -> Any:
    """An `onnxruntime.InferenceSession` of a compiled network on one chip.

    Where the provider is not compiled (`nvmc doctor`), an object with its `run`, `get_inputs` and
    `get_outputs`, which gives the same values.

    Args:
        model: A compiled network, its folder, its `model.onnx`, or the content of that.
        chip: Which chip of the population, `"ideal"`, or a chip made by hand, to which the
            options up to `time_s` do not apply.
        seed: The population of chips.
        sigma: Strength of the device's noise; None for the device's own.
        device: Library name or TOML file; None for the network's device.
        time_s: Seconds since programming; None for the device's own.
        first_image: Images that another session has run on the same chip: its reads go on where
            those ended, whoever names the chip.
        images: Images that each run brings; needed where `first_image` is not 0.
        turns: Steps that a network with states takes in each run (`nvmc compile --state`).
        threads: Threads of onnxruntime's own operators.
        quiet: Keep what onnxruntime logs to itself.

    Raises:
        DeviceError: No such device.
        OptionError: A number is out of range.
        ProviderError: onnxruntime is too old; or the provider is not compiled, and the network has
            arrays inside If, Loop or Scan.
        ArtifactError: A folder holds no compiled network, or a damaged one.
        ModelError: onnxruntime cannot make the session, or the options do not fit the network.
    """
    if isinstance(model, str | Path) and Path(model).is_dir():
        model = open_compiled(model)
    model = model.model_path if isinstance(model, Compiled) else model
    made = chip if isinstance(chip, Chip) else None
    number = None if isinstance(chip, (Chip, str)) else chip
    options = ProviderOptions(device, sigma, seed, number, time_s, first_image, images, turns)
    if device is not None:
        load_device(device)
    content = model if isinstance(model, bytes) else _file(model)
    with nullcontext() if made is None else use_chip(made):
        return _session(content, options, threads, quiet)


def _session(content: bytes | str, options: ProviderOptions, threads: int, quiet: bool) -> Any:
    if _shim is None:
        from nvmc.runtime.parted import PartedSession

        return PartedSession(content, options, threads)
    settings = _ort.SessionOptions()
    settings.intra_op_num_threads = threads
    if quiet:
        settings.log_severity_level = 4  # its errors are raised, and said once
    # Threads that wait by spinning take the cores that NumPy computes on.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    keep_values(settings)
    settings.add_provider_for_devices(register_provider(), options.texts)
    try:
        left_out = crashing_optimisers(content)
        return _ort.InferenceSession(
            content, settings, enable_fallback=0, disabled_optimizers=left_out
        )
    except Exception as error:
        raise ModelError(f"onnxruntime cannot make a session: {_plain(error)}") from error
