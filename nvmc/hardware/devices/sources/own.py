"""A law of one's own in Python, through the seam that nvmc's own sources come through."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field, PrivateAttr, ValidationError

from nvmc.errors import NvmcError, OptionError, unknown
from nvmc.hardware.devices.importing import LAW, imported
from nvmc.hardware.devices.laws import Cells
from nvmc.hardware.devices.sources.base import Draws, NoiseSource, ReadLaw, Stage
from nvmc.hardware.options import problem

__all__ = ["Own"]


class Own(NoiseSource, frozen=True):
    """A law that a user names, `module:attribute`: a function or a class (docs/devices.md).

    Files hold its name and its hash and run no code: a source that comes out of a file cannot act
    until the user names the law again.

    Attributes:
        law: `module:attribute`.
        sha256: Of the module's file as it was imported; part of the key of results.
        keys: All options of the law with their values.
    """

    stage: ClassVar[Stage] = "cell"
    type: Literal["own"] = "own"
    law: Annotated[str, Field(pattern=LAW)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    keys: dict[str, Any] = {}
    _inner: NoiseSource | None = PrivateAttr(None)
    _problem: str | None = PrivateAttr(None)  # why another process did not find it

    @classmethod
    def of(cls, law: str, keys: Mapping[str, Any]) -> Own:
        """The law called `law` with some of its options.

        Raises:
            OptionError: There is none, or it does not have these options.
        """
        found, digest = imported(law)
        return cls._made(law, digest, _source(law, found, keys))

    @classmethod
    def _made(cls, law: str, digest: str, inner: NoiseSource) -> Own:
        keys = inner.model_dump(mode="json", exclude={"type"})
        own: Any = cls(law=law, sha256=digest, keys=keys)
        own._inner = inner
        return own

    def __eq__(self, other: object) -> bool:
        """Whether it is the same law with the same options, and either can act or neither."""
        if not isinstance(other, Own) or (self._inner is None) != (other._inner is None):
            return False
        return (self.law, self.sha256, self.keys) == (other.law, other.sha256, other.keys)

    def __hash__(self) -> int:
        return hash((self.law, self.sha256))

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: another process imports the law itself."""
        if self._inner is None and self._problem is None:
            return type(self).model_validate, (self.model_dump(),)
        return _again, (self.law, self.sha256, self.keys)

    @property
    def inner(self) -> NoiseSource:
        """The law.

        Raises:
            OptionError: It was read from a file, or another process did not find it.
        """
        if self._problem is not None:
            raise OptionError(self._problem)
        if self._inner is None:
            raise OptionError(
                f"{self.law!r} is a law of your own that a file names, and files run no code; name "
                f"it again, with --device MODULE:NAME where it is the device's, or --noise"
            )
        return self._inner

    @property
    def acts_in(self) -> Stage:
        """Where the law acts."""
        return self.stage if self._inner is None else self._inner.acts_in

    @property
    def active(self) -> bool:
        """Whether the law changes anything."""
        return self.inner.active

    @property
    def pointwise(self) -> bool:
        """Whether the law says so of itself."""
        return self.inner.pointwise

    @property
    def timed(self) -> bool:
        """Whether the law depends on time; one out of a file may."""
        return self._inner is None or self._inner.timed

    @property
    def thermal(self) -> bool:
        """Whether the law depends on temperature; one out of a file may."""
        return self._inner is None or self._inner.thermal

    @property
    def needs_conductance(self) -> bool:
        """Whether the law needs it."""
        return self._inner is not None and self._inner.needs_conductance

    @property
    def needs_time(self) -> bool:
        """Whether the law needs it."""
        return self._inner is not None and self._inner.needs_time

    @property
    def needs_tiles(self) -> bool:
        """Whether the law needs them."""
        return self.inner.needs_tiles

    @property
    def chip_wide(self) -> bool:
        """Whether the law's draws are shared by all arrays of a chip."""
        return self.inner.chip_wide

    @property
    def profiles(self) -> tuple[tuple[float, ...], ...]:
        """Those of the law."""
        return () if self._inner is None else self._inner.profiles

    def aged(self, time_s: float) -> float:
        """As the law says."""
        return time_s if self._inner is None else self._inner.aged(time_s)

    def with_sigma(self, sigma: float) -> NoiseSource:
        """The law at the device's sigma, where it takes that."""
        if self._inner is not None:
            return self._with(self._inner.with_sigma(sigma))
        loose = {key: sigma for key in ("sigma", "amplitude") if self.keys.get(key, 0) is None}
        return self.model_copy(update={"keys": {**self.keys, **loose}}) if loose else self

    def with_temperature(self, celsius: float) -> NoiseSource:
        """The law at a temperature, where it depends on that."""
        return self if self._inner is None else self._with(self._inner.with_temperature(celsius))

    def _with(self, inner: NoiseSource) -> Self | Own:
        return self if inner is self._inner else self._made(self.law, self.sha256, inner)

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """What the law makes of levels, or of weights: checked.

        Raises:
            OptionError: The law fails, or gives other than numbers of the same shape and type.
        """
        law: Callable[..., Any] = cast(Any, self.inner).apply
        return _checked(self.law, lambda seen, of: law(seen, of, draws), levels, cells)

    def read_law(self, cells: Cells, draws: Draws) -> ReadLaw:
        """What the law adds to reads: checked."""
        return _Reads(self.law, self.inner.read_law(cells, draws))


def _again(law: str, digest: str, keys: dict[str, Any]) -> Own:
    """The law in another process.

    Where it is not there, or another, whoever asks for a chip of it is told: what carries it there
    (a scheduler) need not have it.
    """
    try:
        own = Own.of(law, keys)
    except OptionError as error:
        problem_here = f"a worker does not have a law of your own: {error}"
    else:
        if own.sha256 == digest:
            return own
        problem_here = f"{law!r} is another file for a worker than here; give both the same"
    lost: Any = Own(law=law, sha256=digest, keys=keys)
    lost._problem = problem_here
    return lost


@dataclass(frozen=True)
class _Reads:
    law: str
    inner: ReadLaw

    def spread(self, levels: Any, cells: Cells) -> Any:
        """Standard deviation of every cell in one read; see `Read.spread`."""
        spread = _checked(self.law, self.inner.spread, levels, cells)
        if array_namespace(spread).any(spread < 0):
            raise OptionError(f"{self.law!r} gives a spread of reads below 0; expected at least 0")
        return spread


class _Call(NoiseSource, frozen=True, arbitrary_types_allowed=True):
    """A function of levels, cells, draws and options as a source on cells."""

    stage: ClassVar[Stage] = "cell"
    function: Annotated[Any, Field(exclude=True)]
    options: dict[str, Any]

    @property
    def active(self) -> bool:
        """Always: nobody knows."""
        return True

    def with_sigma(self, sigma: float) -> NoiseSource:
        """With the device's sigma where the option `sigma` is None."""
        if self.options.get("sigma", 0) is not None:
            return self
        return self.model_copy(update={"options": {**self.options, "sigma": sigma}})

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Its options alone."""
        return dict(self.options)

    def apply(self, levels: Any, cells: Cells, draws: Draws) -> Any:
        """What the function gives."""
        return self.function(levels, cells, draws, **self.options)


def _source(law: str, found: Any, keys: Mapping[str, Any]) -> NoiseSource:
    """What a user's object is as a noise source."""
    kind: Any = found
    if isinstance(found, type) and issubclass(kind, NoiseSource):
        inner = _instance(law, kind, keys)
    elif inspect.isfunction(kind):
        inner = _call(law, kind, keys)
    else:
        raise OptionError(
            f"{law!r} is {type(kind).__name__}; expected a function of levels, cells, draws and "
            "options, or a class derived from nvmc.hardware.devices.NoiseSource"
        )
    able = hasattr(inner, "apply")
    if inner.acts_in == "read":
        able = hasattr(inner, "spread") or type(inner).read_law is not NoiseSource.read_law
    if inner.acts_in == "code" or not able:
        raise OptionError(
            f"{law!r} acts on {inner.acts_in!r}; expected a stage of 'cell' or 'weight' with a "
            "method apply, or of 'read' with a method spread"
        )
    return inner


def _instance(law: str, kind: type[NoiseSource], keys: Mapping[str, Any]) -> NoiseSource:
    named = {"type": kind.__name__} if kind.model_fields["type"].is_required() else {}
    try:
        return kind.model_validate({**named, **keys})
    except ValidationError as error:
        raise OptionError(f"{law!r}: {problem(error, kind)}") from error


def _call(law: str, function: Any, keys: Mapping[str, Any]) -> NoiseSource:
    parameters = [
        entry
        for entry in inspect.signature(function).parameters.values()
        if entry.kind not in (entry.VAR_POSITIONAL, entry.VAR_KEYWORD)
    ]
    options = {entry.name: entry.default for entry in parameters[3:]}
    if len(parameters) < 3:
        count = len(parameters)
        raise OptionError(f"{law!r} takes {count} arguments; expected levels, cells and draws")
    for key in keys:
        if key not in options:
            raise OptionError(f"{law!r}: {unknown('option', key, options)}")
    options |= keys
    for key, value in options.items():
        if value is inspect.Parameter.empty:
            raise OptionError(f"{law!r}: option {key!r} is missing")
        if not isinstance(value, bool | int | float | str | tuple | list | None):
            raise OptionError(f"{law!r}: option {key!r} is {value!r}; expected numbers or texts")
    return _Call(type=function.__name__, function=function, options=options)


def _checked(law: str, act: Callable[[Any, Cells], Any], levels: Any, cells: Cells) -> Any:
    """What a law gives, of the very levels that it may not write to."""
    seen = _guarded(levels)
    same = levels is cells.targets
    of = replace(cells, targets=seen if same else _guarded(cells.targets))
    try:
        found = act(seen, of)
    except NvmcError:
        raise
    except Exception as error:
        raise OptionError(f"{law!r} failed: {type(error).__name__}: {error}") from error
    if found is seen:
        return levels
    for what, here, wanted in (
        ("a", type(found).__name__, type(levels).__name__),
        ("the shape", tuple(getattr(found, "shape", ())), tuple(levels.shape)),
        ("the type", getattr(found, "dtype", None), levels.dtype),
    ):
        if here != wanted:
            raise OptionError(f"{law!r} gives {what} {here}; expected {wanted}, as it was given")
    xp = array_namespace(levels)
    if not xp.all(xp.isfinite(found)) and xp.all(xp.isfinite(levels)):
        raise OptionError(f"{law!r} gives numbers that are not finite; expected finite ones")
    return found


def _guarded(array: Any) -> Any:
    """The same numbers, which nobody can write to; a copy where there is no such view."""
    if not isinstance(array, np.ndarray):
        return array.clone() if hasattr(array, "clone") else array
    view: Any = cast(Any, array).view()
    view.flags.writeable = False
    return view
