"""The project's files and modules, as the structural tests see them."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nvmc"

_SKIPPED = {"__pycache__", "build", "dist", "nvmc.egg-info"}


@dataclass(frozen=True)
class Source:
    """One Python file of the package: `name` is its dotted name, reached through the symlinks."""

    name: str
    path: Path

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @cached_property
    def imports(self) -> frozenset[str]:
        """Dotted names imported anywhere in the file, also inside functions.

        `from a import b` gives `a.b`, whether `b` is a module of `a` or a name in it.
        """
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None, f"{self.name} uses a relative import"
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
        return frozenset(names)


def sources() -> list[Source]:
    """Every Python file of the import package."""
    found: list[Source] = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            path = Path(folder, file)
            if path.suffix == ".py":
                parts = path.relative_to(ROOT).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found.append(Source(name, path))
    return sorted(found, key=lambda source: source.name)


def project_files() -> Iterator[Path]:
    """Every file of the project but version control's, caches, and what builds leave."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED and (name == ".ci" or not name.startswith("."))
        ]
        yield from (Path(folder, name) for name in files if name != ".git")  # a worktree's
