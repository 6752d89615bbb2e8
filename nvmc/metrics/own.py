"""A user's own metric: a function of outputs and labels, or an object with update and compute."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import OptionError
from nvmc.hardware.devices.importing import imported
from nvmc.metrics.metric import Metric, Reference

__all__ = ["Own", "is_own", "own_metric", "own_named"]

Way = Literal["more", "less"]
_WAYS: tuple[Way, ...] = ("more", "less")
_SPEC = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)(?::(more|less))?")


class Own(Metric):
    """A user's own number of the outputs and labels of all images.

    Args:
        reference: Classes or target values, images along axis 0, in the order of the outputs.
    """

    reference: ClassVar[Reference] = "classes"
    whole: ClassVar[bool] = True
    percent: ClassVar[bool] = False
    source: ClassVar[Any] = None
    sha256: ClassVar[str] = ""

    def __init__(self, reference: NDArray[Any]) -> None:
        self._reference = reference

    @classmethod
    def accepts(cls, reference: Reference) -> bool:
        """Classes and target values."""
        return reference in ("classes", "values")

    @classmethod
    def identity(cls) -> dict[str, str]:
        """SHA-256 of the file that it is written in.

        Raises:
            OptionError: There is none, so that nobody could tell it from another.
        """
        if not cls.sha256:
            raise OptionError(
                f"metric {cls.name} is not a function of a file without variables of its own, so a "
                "store cannot tell it from another; give its name as package.module:name, or no "
                "store"
            )
        return {"metric_sha256": cls.sha256}

    def add(self, outputs: NDArray[Any], first: int) -> float:
        """The number, of the outputs of all images.

        Raises:
            OptionError: The user's code fails, or gives no finite number.
        """
        labels = self._reference[first : first + len(outputs)]
        try:
            found = _computed(self.source, outputs, labels)
            value = float(found)
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            raise OptionError(
                f"metric {self.name} failed on outputs {outputs.dtype} {list(outputs.shape)} and "
                f"labels {labels.dtype} {list(labels.shape)}: {type(error).__name__}: {said[0]}"
            ) from error
        if not math.isfinite(value):
            raise OptionError(
                f"metric {self.name} gave {value}; expected a finite number for every chip: let it "
                "return its worst value"
            )
        return value

    def finish(self, total: Any, images: int) -> float:
        """The number itself."""
        return float(total)


def _computed(source: Any, outputs: NDArray[Any], labels: NDArray[Any]) -> Any:
    """What a function returns, or an object that is fed computes; on a copy, chips run at once."""
    if not _is_fed(source):
        return source(outputs, labels)
    one = copy.deepcopy(source)
    if callable(getattr(one, "reset", None)):
        one.reset()
    one.update(_tensor(one, outputs), _tensor(one, labels))
    return one.compute()


def _is_fed(source: Any) -> bool:
    return all(callable(getattr(source, name, None)) for name in ("update", "compute"))


def _tensor(metric: Any, array: NDArray[Any]) -> Any:
    """The array, as a tensor for a module of torch (torchmetrics)."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(metric, torch.nn.Module):
        return array
    return torch.from_numpy(np.ascontiguousarray(array))


def is_own(text: str, known: Collection[str]) -> bool:
    """Whether a name is a user's own metric's, `package.module:name`, and none of `known`."""
    return _SPEC.fullmatch(text) is not None and text.partition(":")[0] not in known


def own_named(name: str) -> type[Own]:
    """How values of a user's own metric are read, by the name that results have; no code is run.

    Raises:
        OptionError: It is no such name.
    """
    found = _SPEC.fullmatch(name)
    if found is None:
        raise OptionError(f"metric is {name!r}; expected package.module:function")
    return _made(f"{found[1]}:{found[2]}", _way(found[3]) or "more", None)


def _way(text: str | None) -> Way | None:
    """What stands behind a name."""
    return next((way for way in _WAYS if way == text), None)


def own_metric(metric: Any) -> type[Own]:
    """A user's own metric, imported where it is a text.

    Which way is better is what stands behind the text (`:less`, `:more`), or its attribute
    `higher_is_better`, as in torchmetrics; without either more is taken for better, and its title
    says so.

    Args:
        metric: `package.module:name`, `package.module:name:less`; a function of outputs and labels,
            or an object with `update` and `compute`.

    Raises:
        OptionError: There is no such thing, or it is neither.
    """
    way: Way | None = None
    source, name, sha256 = metric, "", ""
    if isinstance(metric, str):
        found = _SPEC.fullmatch(metric)
        if found is None:
            raise OptionError(f"metric is {metric!r}; expected package.module:function")
        name, way = f"{found[1]}:{found[2]}", _way(found[3])
        source, sha256 = imported(name)
    elif inspect.isfunction(source) and not source.__closure__ and "<" not in source.__qualname__:
        sha256 = _digest_of(source)
    if isinstance(source, type) and _is_fed(source):
        source = _constructed(source, name)
    if isinstance(source, type) or not (_is_fed(source) or callable(source)):
        raise OptionError(
            f"metric is {name or repr(metric)[:60]}; expected a name, a function of outputs and "
            "labels, or an object with update and compute"
        )
    name = name or _name_of(source)
    higher = getattr(source, "higher_is_better", None)
    assumed = way is None and not isinstance(higher, bool)
    if way is None:
        way = "less" if higher is False else "more"
    return _made(name, way, source, assumed, sha256)


def _made(name: str, way: Way, source: Any, assumed: bool = False, sha256: str = "") -> type[Own]:
    said = "more is taken to be better" if assumed else f"{way} is better"
    fields: dict[str, Any] = {
        "name": f"{name}:{way}",
        "short": name.rpartition(":")[2],
        "title": f"the number that {name} gives, {said}",
        "less_is_better": way == "less",
        "source": staticmethod(source) if inspect.isfunction(source) else source,
        "sha256": sha256,
    }
    return type("Own", (Own,), fields)


def _name_of(source: Any) -> str:
    """`module:name` of a function, or of an object's class."""
    named: Any = source if hasattr(source, "__qualname__") else cast(Any, type(source))
    plain = re.sub(r"[^\w.]", "_", str(named.__qualname__))
    return f"{re.sub(r'[^a-zA-Z0-9_.]', '_', str(named.__module__))}:{plain}"


def _digest_of(function: Any) -> str:
    """Of the file that a function is written in; empty where it is in none."""
    file = inspect.getsourcefile(function)
    if file is None or not Path(file).is_file():
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _constructed(kind: Callable[[], Any], name: str) -> Any:
    try:
        return kind()
    except Exception as error:
        raise OptionError(
            f"metric {name or kind} cannot be made without arguments ({error}); give the name of "
            "an object of it"
        ) from error
