"""Arguments of the public functions: a misspelt keyword or a wrong type is one line.

What an argument may be is what its annotation says, so there is no second list. Errors are written
for the command line, with options such as `--adc-bits`; who calls Python reads `adc_bits` instead.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial, wraps
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    Unpack,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from nvmc.errors import NvmcError, OptionError, nearest

__all__ = ["as_called", "check_text", "checked", "from_python", "typed_options"]

T = TypeVar("T")

SAID = {"compile_model": "compile", "train_network": "train", "transform_model": "transform"}
"""Functions that messages call by the shorter of their two names in `nvmc`."""

SHOWN = 60
"""Characters of a wrong value that a message shows."""


def checked(item: T, *, types: bool = True) -> T:
    """A function, or a class with an `__init__` of its own, that checks its arguments.

    It raises OptionError, before anything is done, for a keyword that it has not, for an argument
    that is missing, and for a value of another type than the annotation says. Whole numbers and
    numbers of NumPy become Python's. A `**options: Unpack[...]` stands for the keys of its
    TypedDict, and `**settings: Annotated[Any, Model, ...]` for those of several TypedDicts and for
    the fields of pydantic models, which the function itself lets check the values.

    Args:
        item: The function or class.
        types: Whether to check the values, too.
    """
    if isinstance(item, type):
        kind = cast(Any, item)
        kind.__init__ = _checking(kind.__init__, item.__name__, types)
        return item
    function = cast(Any, item)
    name: str = function.__qualname__
    return _checking(function, SAID.get(name, name), types)


_caller: ContextVar[Literal["command", "function"] | None] = ContextVar("caller", default=None)
"""What is running: a command as it was typed, a public function that Python called, or neither."""


@contextmanager
def typed_options() -> Generator[None]:
    """Within this, errors name options as the command line has them."""
    token = _caller.set("command")
    try:
        yield
    finally:
        _caller.reset(token)


def from_python(known: Iterable[str], call: Callable[[], T]) -> T:
    """Call a public function; its errors name keywords, unless a command or function called it.

    Args:
        known: The keywords that it has.
        call: The function with its arguments.
    """
    if _caller.get() is not None:
        return call()
    token = _caller.set("function")
    try:
        return call()
    except NvmcError as error:
        error.args = (_with_keywords(str(error), known),)
        raise
    finally:
        _caller.reset(token)


def as_called(text: str, known: Iterable[str] = ()) -> str:
    """A sentence that names options, with keywords where no command was typed."""
    return text if _caller.get() == "command" else _with_keywords(text, known)


_OPTION = re.compile(
    r"`[^`]*`|nvmc [a-z]+(?: --[a-z-]+(?: [^\s,;]+)?)+"  # what is to be typed stays as it is
    r"|(?<![\w'\"-])--([a-z][a-z0-9-]*)(?: (?=([^\s]*)))?"
)
_KEYWORDS = {
    "accelerator": "executor",
    "input": "inputs",
    "max-memory": "nvmc.memory_limit",
    "method-option": "options",
    "pass": "passes",
    "rows": "row_split",
    "temperature": "temperature_c",
    "time": "time_s",
    "to": "kind",
    "workers": "executor",
}
"""Options that Python calls by other names, where the function itself does not say how."""


def _with_keywords(text: str, known: Iterable[str]) -> str:
    """`give --adc-bits 1 to 16` as `give adc_bits=1 to 16`; a plain word may follow a name."""
    there = set(known)

    def named(match: re.Match[str]) -> str:
        option, follows = match[1], match[2]
        if option is None:
            return match[0]
        plain = option.replace("-", "_")
        forms = (plain, f"{plain}s", f"{plain}_s", f"{plain}s_s", f"{plain}_c")
        name = next((form for form in forms if form in there), _KEYWORDS.get(option, plain))
        if not follows or follows.startswith("("):
            return f"{name}= " if follows else f"{name}="
        word = follows.rstrip(".,;:)")
        apart = "=" in word or (word.isalpha() and word.islower())
        return f"{name} " if apart else f"{name}="

    return _OPTION.sub(named, text)


def check_text(what: str, value: str | Path) -> None:
    """Complain about a text or a path that holds other bytes than UTF-8.

    ONNX and its runtimes, SQLite and JSON take UTF-8 alone; Linux takes any bytes as a file's name.

    Raises:
        OptionError: It does.
    """
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise OptionError(
            f"{what} is {_shown(str(value))}, which is not UTF-8; rename the file or folder"
        ) from error


def _checking(function: Callable[..., Any], called: str, types: bool) -> Any:
    @wraps(function)
    def calling(*positional: Any, **keywords: Any) -> Any:
        known, signature = _keywords(function)
        name = _called(called, positional)
        for key in keywords:
            if key not in known:
                raise OptionError(_unknown(name, key, known))
        try:
            given = {**signature.bind_partial(*positional, **keywords).arguments, **keywords}
            for key, value in given.items() if types else ():
                if not _fits(value, known.get(key, Any)):
                    expected = _compiled(value, _words(known[key])) or _words(known[key])
                    raise OptionError(f"{name}: {key} is {_shown(value)}; expected {expected}")
                if isinstance(value, str | Path):
                    check_text(f"{name}: {key}", value)
            signature.bind(*positional, **keywords)
        except TypeError as error:
            raise OptionError(f"{name}: {error}") from error
        plain = [_plain(value) for value in positional]
        named = {key: _plain(value) for key, value in keywords.items()}
        return from_python(known, partial(function, *plain, **named))

    return calling


def _called(name: str, positional: tuple[Any, ...]) -> str:
    """A method by the class of its object, rather than by the parent that defines it."""
    parent, dot, method = name.rpartition(".")
    kind = cast(type, type(positional[0]) if dot and positional else object)
    return f"{kind.__name__}.{method}" if parent in (k.__name__ for k in kind.__mro__) else name


def _compiled(value: Any, words: str) -> str | None:
    """What to do with the path of a compiled network, where the network itself is wanted."""
    several: tuple[Any, ...] = cast(Any, value) if isinstance(value, tuple) else (value,)
    path = next((one for one in several if isinstance(one, str | Path)), None)
    if "Compiled" not in words or path is None:
        return None
    return f"the network that is compiled there: nvmc.open_compiled({str(path)!r})"


@cache
def _keywords(function: Callable[..., Any]) -> tuple[dict[str, Any], inspect.Signature]:
    """What each argument of a function may be, and how they are given."""
    signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    known: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            known[name] = tuple[hints.get(name, Any), ...]
        elif parameter.kind is not parameter.VAR_KEYWORD:
            known[name] = hints.get(name, Any)
        elif get_origin(hints.get(name)) is Unpack:
            known |= get_type_hints(get_args(hints[name])[0], include_extras=True)
        elif get_origin(hints.get(name)) is Annotated:
            for part in get_args(hints[name])[1:]:
                fields = getattr(part, "model_fields", None)
                known |= get_type_hints(part) if fields is None else dict.fromkeys(fields, Any)
    return known, signature


def _unknown(name: str, key: str, known: Mapping[str, Any]) -> str:
    options = [option for option in known if option not in ("self", "cls")]
    guess = nearest(key, options)
    hint = f"did you mean {guess!r}?" if guess else f"it has {', '.join(options) or 'none'}"
    return f"{name} has no option {key!r}; {hint}"


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, which JSON and SQLite take."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is Annotated:
        return _fits(value, arguments[0])
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if hint is None or hint in (int, float):
        number = Integral if hint is int else Real
        return value is None if hint is None else _is_number(value, number)
    if origin is None:
        return _is_one(value, hint)
    if issubclass(origin, Callable):
        return callable(value)
    if not isinstance(value, origin) or isinstance(value, str | bytes):
        return False
    return _entries_fit(value, arguments)


def _is_one(value: Any, kind: Any) -> bool:
    """Whether a value is of a class, or has what a protocol wants."""
    if getattr(kind, "_is_protocol", False):
        items = ("__len__", "__getitem__")
        named = cast(Mapping[str, Any], vars(kind))
        wanted = {name for name in named if name[0] != "_" or name in items}
        return wanted <= set(dir(value))
    return isinstance(value, kind)


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _entries_fit(value: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether the entries of a mapping or a sequence fit; those of anything else are not seen."""
    if isinstance(value, Mapping):
        pairs = cast(Mapping[Any, Any], value).items()
        return all(_fits(k, arguments[0]) and _fits(v, arguments[1]) for k, v in pairs)
    if isinstance(value, Sequence):
        entries = cast(Sequence[Any], value)
        one = [argument for argument in arguments if argument is not Ellipsis]
        hints = one * len(entries) if len(one) == 1 else one
        return len(hints) == len(entries) and all(map(_fits, entries, hints))
    return True


_WORDS: dict[Any, str] = {
    Any: "anything",
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "a text",
    None: "None",
    type(None): "None",
    Path: "a path",
}


def _words(hint: Any) -> str:
    """What an annotation says, for people."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, arguments)))
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is None:
        name = str(getattr(hint, "__name__", hint))
        return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    if issubclass(origin, Callable):
        return "a function"
    if issubclass(origin, Mapping):
        return f"a mapping from {_words(arguments[0])} to {_words(arguments[1])}"
    if issubclass(origin, Sequence):
        return f"a list ({_words(arguments[0])} per entry)" if arguments else "a list"
    if issubclass(origin, Iterable):
        return "an array" if origin.__name__ == "ndarray" else "batches"
    return f"a {origin.__name__}"


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
