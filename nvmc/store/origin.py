"""Who found a result: codes that only nvmc of the same user can make (docs/results.md).

Each user has a secret of random bytes. A row of a store carries a keyed hash of what it says; one
whose hash does not fit was written by someone else, or was edited.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from hashlib import blake2b
from pathlib import Path
from struct import Struct, pack

from platformdirs import user_state_path

__all__ = ["Codes", "Identity", "Numbers", "Origin", "identity_file", "own_identity"]

SECRET = 32
"""Bytes of a secret."""
CODE = 16
"""Bytes of a code."""

_ROW = Struct("<qq?d?d")
"""Chip, images, whether there is a total, the total, whether there is a value, the value."""


Numbers = tuple[int, int, float | tuple[float, ...] | None, float | None]
"""Chip, images, sums (None where it is NaN) and value (None before all images) in the file."""


class Origin(IntEnum):
    """Where a result comes from; a greater one is better founded."""

    ELSEWHERE = 0  # another user or machine wrote it, or it was edited
    VOUCHED = 1  # of results from elsewhere, some of which were run again here and agreed
    CHECKED = 2  # it was run again here and agreed
    HERE = 3  # this user's nvmc wrote it


@dataclass(frozen=True)
class Identity:
    """A user, as far as stores are concerned.

    Attributes:
        secret: What the codes are made with.
        trouble: Why it lives for this process only; None where it is kept.
    """

    secret: bytes = field(repr=False)
    trouble: str | None = None

    def codes(self, experiment: str) -> Codes:
        """The codes of one experiment's rows, by the experiment's id."""
        return Codes(self.secret, experiment)


class Codes:
    """Makes and reads the codes of one experiment."""

    def __init__(self, secret: bytes, experiment: str) -> None:
        known = experiment.encode(errors="surrogatepass")
        self._begun = {
            origin: blake2b(bytes([origin]) + known, key=secret, digest_size=CODE)
            for origin in (Origin.HERE, Origin.CHECKED, Origin.VOUCHED)
        }
        self._here = self._begun[Origin.HERE]

    def here(
        self,
        chip: int,
        images: int,
        total: float | tuple[float, ...] | None,
        value: float | None,
    ) -> bytes:
        """The code of a row that was found here; its sum is None where it is NaN."""
        return _coded(self._here, chip, images, total, value)

    def code(self, row: Numbers, origin: Origin) -> bytes | None:
        """The code of a row that comes from there; None for one that nobody vouches for."""
        return None if origin is Origin.ELSEWHERE else _coded(self._begun[origin], *row)

    def origin(self, row: Numbers, code: bytes | None, marks: Collection[bytes]) -> Origin:
        """Where a row comes from, by the code that it carries and the marks that name it."""
        for origin, begun in self._begun.items():
            wanted = _coded(begun, *row)
            if code == wanted or wanted in marks:
                return origin
        return Origin.ELSEWHERE

    def of_text(self, text: str) -> bytes:
        """The code of what an experiment says of itself."""
        digest = self._begun[Origin.HERE].copy()
        digest.update(b"info" + text.encode(errors="surrogatepass"))
        return digest.digest()


def _coded(
    begun: blake2b,
    chip: int,
    images: int,
    total: float | tuple[float, ...] | None,
    value: float | None,
) -> bytes:
    digest = begun.copy()
    if isinstance(total, tuple):
        digest.update(b"sums" + pack(f"<q{len(total)}d", len(total), *(x or 0.0 for x in total)))
        total = None
    digest.update(  # -0.0 and 0.0 are one number to SQLite
        _ROW.pack(chip, images, total is not None, total or 0.0, value is not None, value or 0.0)
    )
    return digest.digest()


def own_identity() -> Identity:
    """The identity of the user whose process this is; made where there is none yet."""
    return _identity_in(identity_file().parent)


def identity_file() -> Path:
    """Where the identity of the user whose process this is is kept."""
    return user_state_path("nvmc", appauthor=False) / "identity"


@cache
def _identity_in(folder: Path) -> Identity:
    """The identity that is kept in a folder, or one for this process where none can be."""
    file = folder / "identity"
    try:
        if not folder.is_absolute():
            raise OSError("there is no home folder")
        secret = _read(file) if file.exists() else _made(file)
        if len(secret) == SECRET:
            return Identity(secret)
        why = f"it has {len(secret)} bytes, expected {SECRET}; delete it, and another one is made"
    except OSError as error:
        why = error.strerror or str(error)
    trouble = (
        f"no identity can be kept in {str(file)!r} ({why}), so the next command takes the results "
        "of this one for those of another user, and runs some of them again"
    )
    return Identity(secrets.token_bytes(SECRET), trouble)


def _read(file: Path) -> bytes:
    """The secret, if no other user can have read or written it.

    Raises:
        OSError: It cannot be read, or others can read it.
    """
    with file.open("rb") as content:
        mode = os.fstat(content.fileno()).st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise OSError("other users may read it: chmod 600")
        return content.read(SECRET + 1)


def _made(file: Path) -> bytes:
    """A new secret, which appears as a whole; of two processes the first one's counts.

    Raises:
        OSError: It cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=".identity-", dir=file.parent)  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as content:
            content.write(secrets.token_bytes(SECRET))
            content.flush()
            os.fsync(content.fileno())
        try:
            os.link(name, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(name, file)
    finally:
        Path(name).unlink(missing_ok=True)
    return _read(file)
