"""What a mistyped command, subcommand, option or choice may have been meant to be."""

from __future__ import annotations

import json

import pytest

from nvmc.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("simulat", "No such command 'simulat'; did you mean 'simulate'? (see `nvmc --help`)"),
        ("devices lst", "'lst'; did you mean 'list'? (see `nvmc devices --help`)"),
        ("results shwo", "did you mean 'show'?"),
        ("targets zzz", "No such command 'zzz'; expected one of list, show"),
        ("--debag", "Did you mean '--debug'?"),
        ("simulate --run 3", "'--runs'"),
        ("compile m.onnx --encoding ofset", "'balanced'. Did you mean 'offset'? (see `nvmc com"),
        ("simulate --fidelity Cell", "'circuit'. Did you mean 'cells'?"),
        ("simulate --fidelity zzz", "'cells', 'circuit'. (see `nvmc simulate --help`)"),
        ("simulate --runs many", "'many' is not a valid integer"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_may_be_meant(
    capsys: Capture, words: str, hint: str
) -> None:
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert hint in line


@pytest.mark.parametrize("group", ["devices", "targets", "hardware"])
def test_list_is_what_the_bare_group_prints(capsys: Capture, group: str) -> None:
    for more in ([], ["--json"]):
        texts: list[str] = []
        for words in ([group, *more], [group, "list", *more]):
            assert main(words) == 0
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1] != ""
    assert len(json.loads(texts[1])[group]) > 1
