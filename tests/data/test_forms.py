"""Every form of a data set's name: where one list of them is printed, all are in it."""

from __future__ import annotations

import click
import pytest

from nvmc.data import FILES, FORMS, READERS, load_data, without_folder
from nvmc.errors import DataError
from snippets.listing import commands
from snippets.pages import ROOT

DIGITS = "digits"
"""A form that lists have been begun with, and then not ended."""


def test_each_reader_is_one_form() -> None:
    assert len(FORMS) == len(set(FORMS)) == len(FILES) + len(READERS)
    assert {"FILE.npz", "next:FILE.npz", "digits", "mnist:DIR", "co2"} <= set(FORMS)


def test_a_help_that_lists_forms_lists_all() -> None:
    whole = []
    for name, command in commands().items():
        for option in command.params:
            if isinstance(option, click.Option) and option.metavar == "SPEC":
                said = option.help or ""
                named = [form for form in FORMS if form in said.replace("next:FILE.npz", "")]
                if len(named) > 1 or DIGITS in named:
                    whole.append(name)
                    assert all(form in said for form in FORMS), f"{name} {option.opts[0]}: {said}"
    assert {"simulate", "train"} <= set(whole)


def test_messages_and_the_page_list_all() -> None:
    with pytest.raises(DataError) as caught:
        load_data("digit")
    assert all(form in str(caught.value) for form in FORMS) and "did you mean" in str(caught.value)
    page = (ROOT / "docs" / "data.md").read_text()
    assert [form for form in FORMS if f"\n| `{form}` |" not in page] == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mnist:here", "mnist"),
        ("gtsrb:a,b/c,size=32,colour=grey", "gtsrb,colour=grey,size=32"),
        ("co2,window=12", "co2,window=12"),
        ("digits", "digits"),
        ("next:texts.npz", "next:texts.npz"),
        ("mine.npz", "mine.npz"),
    ],
)
def test_a_set_without_its_folder(spec: str, expected: str) -> None:
    assert without_folder(spec) == expected
