"""Pages as Jupyter notebooks, made from the same Markdown: the site offers those of the tutorials.

Python is a cell, a command a cell line behind `!`, a file `%%writefile`; what the page prints is
the cell's output. Hidden set-up comes first, so that a notebook runs by itself in an empty folder.
Blocks that no test runs stay text. Pictures lie inside the notebook.
"""

from __future__ import annotations

import posixpath
import re
from base64 import b64encode
from collections.abc import Iterator

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from snippets.not_run import runs
from snippets.pages import ROOT, Block, blocks, pages
from snippets.running import session

__all__ = ["behind_mark", "notebook", "notebook_pages"]

_TITLE = re.compile(r"^(# .*)\n")
_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_LINK = re.compile(r"(\(?)(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"^(?!#|$)((?:.*\\\n)*.*)$", re.MULTILINE)
_FOR_PYTHON = re.compile(r"[{}]|\$(?=\w)")

_NOTE = (
    "*A notebook of nvmc's page `{page}`. It needs `pip install 'nvmc[all]' jupyter`, runs from "
    "top to bottom, and writes its files into its own folder. Outputs are those of the page until "
    "the cells are run. Other pages are named by their files.*"
)
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook_pages() -> list[str]:
    """The pages that the site offers as notebooks, as paths from the root: every tutorial."""
    return [page for page in pages() if page.startswith("docs/tutorials/")]


def notebook(page: str, site: str | None = None) -> NotebookNode:
    """The notebook of a page, of format 4.5; the same page always gives the same notebook.

    Args:
        page: Path from the root of the repository.
        site: Address of the site that links lead to; without it they name the file of the page.
    """
    made = list(blocks(page))
    cells = [cell for block in made if block.hidden for cell in _code(block)]
    shown = list(_shown(page, made, site))
    cells = [*shown[:1], *cells, *shown[1:]] if cells else shown
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    book = new_notebook(cells=cells, metadata=_METADATA)
    nbformat.validate(book)
    return book


def _shown(page: str, made: list[Block], site: str | None) -> Iterator[NotebookNode]:
    """Cells of what readers see: text up to the next block that runs, then that block's cells."""
    lines = (ROOT / page).read_text().splitlines()
    text, at, code = "", 0, None
    for block in made:
        text += "\n".join(lines[at : block.line - 2]) + "\n"
        first, at = block.line - 2, block.line + block.text.count("\n") + 1
        if block.kind == "output" and code is not None and not _COMMENT.sub("", text).strip():
            code["outputs"] = [_printed(block.text)]
            text = ""
        elif not block.hidden and runs(block) and (block.title or block.kind in _CELLS):
            yield from _text(page, text, site)
            for code in _code(block):
                yield code
            text = ""
        elif not block.hidden:
            text += "\n".join(lines[first:at]) + "\n"
    yield from _text(page, text + "\n".join(lines[at:]), site)


_CELLS = ("python", "sh", "console")


def _code(block: Block) -> Iterator[NotebookNode]:
    """The cells of a block: one, or one for each command of a session."""
    if block.title:
        yield new_code_cell(f"%%writefile {block.title}\n{block.text}")
    elif block.kind == "console":
        for command, printed in session(block.text):
            cell = new_code_cell(behind_mark(command))
            cell["outputs"] = [_printed(printed)] if printed.strip() else []
            yield cell
    else:
        yield new_code_cell(block.text if block.kind == "python" else behind_mark(block.text))


def behind_mark(text: str) -> str:
    """Commands as IPython runs them; braces and `$NAME` would be Python's names there."""
    plain = _FOR_PYTHON.sub(lambda found: found[0] * 2, text)
    return _COMMAND.sub(r"!\1", plain)


def _printed(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text.strip("\n") + "\n")


def _text(page: str, text: str, site: str | None) -> Iterator[NotebookNode]:
    """A cell of text, if there is any; below the title it says what the notebook is."""
    plain = _COMMENT.sub("", text).strip()
    plain = _TITLE.sub(lambda found: f"{found[1]}\n{_NOTE.format(page=page)}\n", plain, count=1)
    attachments: dict[str, dict[str, str]] = {}
    folder = posixpath.dirname(page)

    def led(found: re.Match[str]) -> str:
        before, picture, words, target = found.groups()
        if target.startswith(("http:", "https:")):
            return found[0]
        path, mark, heading = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path)) if path else page
        if picture:
            name = posixpath.basename(path)
            attachments[name] = {"image/png": b64encode((ROOT / path).read_bytes()).decode()}
            return f"{before}![{words}](attachment:{name})"
        if site is None:
            return f"({words}, `{path}`" if before else f"{words} (`{path}`)"
        to = path.removeprefix("docs/").removesuffix(".md")
        return f"{before}[{words}]({site.rstrip('/')}/{to}.html{mark}{heading})"

    plain = _LINK.sub(led, plain)
    if plain:
        cell = new_markdown_cell(plain)
        if attachments:
            cell["attachments"] = attachments
        yield cell
