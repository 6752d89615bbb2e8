"""What a file is known by: its SHA-256 and its size."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from nvmc.compiled.work import Entry

__all__ = ["FileEntry", "HashedFile"]


class FileEntry(Entry):
    """What a file held when it was written."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]

    @classmethod
    def of_file(cls, path: Path) -> Self | None:
        """That of a file; None where there is none.

        Raises:
            OSError: It cannot be read.
        """
        if not path.is_file():
            return None
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(sha256=digest, bytes=file.tell())

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """That of a file with this content."""
        return cls(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))

    def __str__(self) -> str:
        return f"{self.bytes:,} bytes with SHA-256 {self.sha256[:12]}…"


class HashedFile(io.RawIOBase):
    """A file that is hashed while it is read, once, from its beginning to its end.

    So the digest is that of the very bytes that were used. Read it through `io.BufferedReader`.

    Args:
        file: Opened without a buffer; it is closed with this.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    @property
    def entry(self) -> FileEntry:
        """What has been read so far."""
        return FileEntry(sha256=self._hash.hexdigest(), bytes=self._size)

    def readable(self) -> bool:
        """Whether it can be read; see `io.RawIOBase`, as for all below."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into `buffer`."""
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        self._size += count
        return count

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._size

    def fileno(self) -> int:
        """The descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
