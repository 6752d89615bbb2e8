"""Notebooks of the tutorials: made from their pages, valid, and run from top to bottom."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

# Extra `docs`; `make test` has it. What .ci/run runs with other extras is not here.
nbformat = pytest.importorskip("nbformat")

from snippets.not_run import runs  # noqa: E402
from snippets.notebooks import behind_mark, notebook, notebook_pages  # noqa: E402
from snippets.pages import ROOT, blocks  # noqa: E402
from snippets.running import tools  # noqa: E402

PAGES = notebook_pages()
QUICKEST = "docs/tutorials/compiler.md"


def test_every_tutorial_is_a_notebook_with_all_that_runs() -> None:
    assert len(PAGES) >= 8
    for page in PAGES:
        book = notebook(page)
        nbformat.validate(nbformat.from_dict(book))
        assert book == notebook(page)
        code = [cell.source for cell in book.cells if cell.cell_type == "code"]
        run = [block for block in blocks(page) if block.kind in ("python", "sh") and runs(block)]
        cells = [b.text if b.kind == "python" else behind_mark(b.text) for b in run]
        assert [text for text in code if text in cells] == sorted(
            cells, key=lambda text: not run[cells.index(text)].hidden
        )


def test_a_notebook_stands_alone() -> None:
    for page in PAGES:
        for cell in notebook(page).cells:
            if cell.cell_type == "markdown":
                assert not re.search(r"\]\((?!https?:|attachment:)|<!--", cell.source), page
                pictures = re.findall(r"\(attachment:(.*?)\)", cell.source)
                assert sorted(cell.get("attachments", {})) == sorted(pictures)
    (first, *_) = notebook("docs/tutorials/adc.md", "https://nvmc.example/").cells
    text = "".join(c.source for c in notebook("docs/tutorials/ci.md", "https://nvmc.example").cells)
    assert first.source.startswith("# Which ADC\n*A notebook of nvmc's page")
    assert "(https://nvmc.example/simulate.html#the-yield-at-a-goal)" in text


def test_what_a_page_prints_is_a_cells_output() -> None:
    (cell,) = (c for c in notebook("docs/tutorials/compiler.md").cells if "(17)" in c.source)
    assert cell.outputs[0].text.splitlines()[0] == "0 (64, 64) 15.64 µS"
    (cell,) = (c for c in notebook("docs/tutorials/device.md").cells if "devices fit" in c.source)
    assert cell.source == "!nvmc devices fit measured.csv -o mine.toml"
    assert cell.outputs[0].text.startswith("Fit of measured.csv")


def test_python_reads_no_names_in_commands() -> None:
    assert behind_mark("# all\nnvmc a \\\n  --b\n\nfoo {x} $HOME $?") == (
        "# all\n!nvmc a \\\n  --b\n\n!foo {{x}} $$HOME $?"
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_notebooks_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """The quickest one; `--notebooks` runs all, whose blocks `test_snippets.py` runs too."""
    from nbclient import NotebookClient

    if page != QUICKEST and not pytestconfig.getoption("notebooks"):
        pytest.skip("without --notebooks")

    book = notebook(page)
    for cell in book.cells:
        if cell.cell_type == "code":  # a command that fails is no error to IPython
            checked = r"\1\nassert _exit_code == 0"
            cell.source = re.sub(r"^(!(?:.*\\\n)*.*)$", checked, cell.source, flags=re.MULTILINE)
    (folder := tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    with tools():
        os.environ |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)}  # without tests/
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(book, timeout=None, kernel_name="python3", resources=resources).execute()
