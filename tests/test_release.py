"""What is written down of a release agrees: extras, versions, what goes into an image."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from source_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_all_is_every_extra_of_users() -> None:
    extras = dict(PROJECT["project"]["optional-dependencies"])
    (text,) = extras.pop("all")
    names = sorted(extras.keys() - {"browser", "dev", "docs"})
    assert text == f"nvmc[{','.join(names)}]"
    page = (ROOT / "docs" / "install.md").read_text()
    rows = set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE))
    assert {*names, "all", "dev", "try", "require", "none"} >= rows >= {*names, "all"}


def test_the_version_is_the_same_everywhere() -> None:
    script = ROOT / ".ci" / "check_version.py"
    assert subprocess.run([sys.executable, script]).returncode == 0
    done = subprocess.run([sys.executable, script, "v99.1"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert "expected version 99.1: " in done.stderr and "no section '## 99.1'" in done.stderr


def test_wheels_are_built_for_the_pythons_that_are_named() -> None:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=3.")
    numbers = [int(text[3:-2]) for text in PROJECT["tool"]["cibuildwheel"]["build"]]
    assert numbers == list(range(int(lowest), numbers[-1] + 1))
    page = (ROOT / "docs" / "install.md").read_text()
    assert page.count(f"CPython 3.{lowest} to 3.{numbers[-1]}") == 3
    assert PROJECT["tool"]["cibuildwheel"]["environment"] == {"NVMC_EXTENSIONS": "require"}


def test_an_image_gets_what_a_build_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    manifest = re.findall(r"^include (.+)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE)
    needed = {"nvmc", "passes", "runtime", "models", "LICENSE", "README.md", "pyproject.toml"}
    assert let_in == needed | {"setup.py", "MANIFEST.in", *manifest[0].split()}
    assert all((ROOT / name).exists() for name in let_in)
