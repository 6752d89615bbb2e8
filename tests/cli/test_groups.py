"""`--help` of every command shows its options in groups, each option in one."""

from __future__ import annotations

import pytest

from nvmc.cli import main
from nvmc.cli.groups import GROUPS, UNGROUPED, grouped
from snippets.listing import commands


def test_every_option_has_a_group() -> None:
    for name, command in commands().items():
        missing = grouped(name, command.params).get(UNGROUPED, [])
        assert not missing, f"{name}: name {missing} in GROUPS of nvmc/cli/groups.py"


def test_every_group_names_options_that_there_are_and_none_twice() -> None:
    words = [word for text in GROUPS.values() for word in text.split()]
    assert len(set(words)) == len(words)
    there = {"--quiet", "--verbose", "-h"}
    for name, command in commands().items():
        for one in command.params:
            there |= {one.opts[0], f"{name}:{one.opts[0]}"}
    assert set(words) <= there


def test_help_shows_them_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "What to do",
        "Data and metric",
        "Chips and noise",
        "Speed and memory",
        "Output",
        "Help and messages",
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["train", "devices fit"])
def test_all_groups_have_their_second_column_at_one_place(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*name.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    inside = [line for line in lines if line.startswith(("  --", "  -")) and "  " in line[3:]]
    begins = {len(line) - len(line[line.index("  ", 3) :].lstrip()) for line in inside}
    assert len(begins) == 1


def test_no_word_to_type_is_broken_at_a_hyphen(capsys: pytest.CaptureFixture[str]) -> None:
    broken = []
    for name in commands():
        assert main([*name.split(), "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        broken += [f"{name}: {line}" for line in lines if line.endswith("-") or len(line) > 80]
    assert not broken


def test_a_command_with_few_options_keeps_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # a command that was called before has --quiet and --verbose
        assert main(["doctor", "--help"]) == 0
        assert "\nOptions:\n  --json" in capsys.readouterr().out
