"""docs/operators.md says of every operator what nvmc.compiled.operators says."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvmc.compiled.operators import OPS, VERSION
from nvmc.runtime.crossbar.activations import ACTIVATIONS

TEXT = (Path(__file__).parents[3] / "docs" / "operators.md").read_text()
ROWS = {
    cells[1].strip("` "): [cell.strip() for cell in cells[2:]]
    for cells in (line.split("|") for line in TEXT.splitlines() if line.startswith("| `"))
}


def test_every_operator_has_a_row_and_no_other() -> None:
    assert list(ROWS) == list(OPS)


@pytest.mark.parametrize("name", sorted(OPS))
def test_inputs_and_outputs(name: str) -> None:
    op = OPS[name]
    stands_for, inputs, outputs, _ = ROWS[name][:4]
    assert stands_for.split(",")[0].split()[0] == op.replaces
    assert tuple(part.strip(" ?") for part in inputs.split(",")) == op.function_inputs
    assert tuple(part.strip() for part in outputs.split(",")) == op.outputs


def test_version_has_its_history() -> None:
    assert f"Domain `nvmc`, version {VERSION}." in TEXT
    history = TEXT.split("## Change history")[1]
    assert f"| {VERSION} |" in history
    assert f"| {VERSION + 1} |" not in history


def test_every_activation_is_named() -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith("- `activations`"))
    named = line.split(":")[1].split(", in upper or lower case")[0].split(",")
    assert {name.strip().lower() for name in named} == set(ACTIVATIONS)
