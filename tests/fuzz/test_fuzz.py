"""No mutated input of any kind ends in a fault of nvmc itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from source_tree import ROOT

ROW = re.compile(r"^\| ([\w-]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", re.MULTILINE)
TABLE = (ROOT / "tests" / "fuzz" / "kinds" / "__init__.py").read_text(encoding="utf-8")
KINDS = re.findall(r'^    "([\w-]+)": ', TABLE, re.MULTILINE)

FEW, MANY = 3, 130
"""Inputs of each kind: of the quick tests, and of those that take some two minutes together."""


def run(kinds: list[str], count: int) -> dict[str, tuple[int, ...]]:
    """Kind -> tried, accepted, refused, faults, in a process of its own: it forks."""
    words = [word for kind in kinds for word in ("--kind", kind)]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *words, "--count", str(count)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert not done.stderr, done.stderr
    rows = {
        name: tuple(int(number.replace(",", "")) for number in numbers)
        for name, *numbers in ROW.findall(done.stdout)
    }
    assert rows.keys() == set(kinds)
    assert done.returncode == any(faults for *_, faults in rows.values())
    assert not any(faults for *_, faults in rows.values()), done.stdout
    return rows


@pytest.mark.torch
def test_a_few_inputs_of_every_kind() -> None:
    run(KINDS, FEW)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
def test_many_inputs(kind: str) -> None:
    """Gentle ones: a third of them at least is no reason to complain, of 130 less by chance."""
    ((tried, accepted, refused, _),) = run([kind], MANY).values()
    assert tried == MANY == accepted + refused
    assert accepted > MANY / 4


def test_an_input_is_always_the_same() -> None:
    from random import Random

    from fuzz.mutations import changed_bytes, changed_tree

    tree = {"a": [1, 2.5, "x"], "b": {"c": True}}
    for number in range(50):
        twice = [Random(f"0 test {number}") for _ in range(2)]
        one, other = (changed_tree(draw, tree) for draw in twice)
        assert repr(one) == repr(other)
        one, other = (changed_bytes(draw, bytes(100)) for draw in twice)
        assert one == other
    assert tree == {"a": [1, 2.5, "x"], "b": {"c": True}}
