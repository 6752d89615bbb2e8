"""Python that people name, MODULE:NAME: imported once, and known by the bytes of its file."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from nvmc.errors import OptionError, nearest

__all__ = ["LAW", "imported"]

LAW = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
"""How a law of one's own is written."""
MOST = 8
"""Names that a message lists, at most."""
_DIGEST = "__nvmc_sha256__"


def imported(law: str) -> tuple[Any, str]:
    """What `module:attribute` names, and the SHA-256 of the file that defines it.

    The module is looked for in the current directory, then where Python looks. Only its own file is
    hashed, not what it imports.

    Raises:
        OptionError: There is no such module or attribute, it cannot be imported, it is no Python
            file, or its file has changed since.
    """
    if not re.match(LAW, law):
        raise OptionError(f"{law!r} is no law of one's own; write MODULE:NAME, such as laws:Cell")
    name, _, attribute = law.partition(":")
    module = _module(law, name)
    file = Path(getattr(module, "__file__", None) or "")
    if file.suffix != ".py":
        raise OptionError(f"{law!r}: module {name!r} is no Python file; give one of your own")
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise OptionError(f"{law!r}: cannot read {str(file)!r}: {error.strerror}") from error
    if vars(module).setdefault(_DIGEST, digest) != digest:
        raise OptionError(
            f"{law!r}: {str(file)!r} has changed since it was imported; start Python again"
        )
    if not hasattr(module, attribute):
        raise OptionError(f"{law!r}: {_unknown(module, file.name, attribute)}")
    return getattr(module, attribute), digest


def _unknown(module: ModuleType, file: str, attribute: str) -> str:
    """That a module has no such attribute, and which was meant or can be called."""
    called = {n: own for n, own in vars(module).items() if callable(own) and n[0] != "_"}
    here = [n for n, own in called.items() if getattr(own, "__module__", "") == module.__name__]
    names = here or list(called)
    guess = nearest(attribute, names)
    more = f", … ({len(names)} in all)" if len(names) > MOST else ""
    has = f"it has {', '.join(names[:MOST]) or 'nothing that can be called'}{more}"
    hint = has if guess is None else f"did you mean {guess!r}?"
    return f"{file} has no {attribute!r}; {hint}"


def _module(law: str, name: str) -> ModuleType:
    here = str(Path.cwd())
    importlib.invalidate_caches()
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise OptionError(
                f"{law!r}: there is no module {name!r} in {here!r}, nor where Python looks"
            ) from error
        raise OptionError(f"{law!r}: importing {name!r} failed: {error}") from error
    except (Exception, SystemExit) as error:
        raise OptionError(
            f"{law!r}: importing {name!r} failed: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)
