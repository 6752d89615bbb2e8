"""Puts the notebooks of the tutorials beside their pages, when the site is built."""

from __future__ import annotations

from typing import Any

import nbformat
from mkdocs.structure.files import File

from snippets.notebooks import notebook, notebook_pages

__all__ = ["on_files", "on_page_markdown"]


def on_files(files: Any, *, config: Any) -> Any:
    """Add a notebook for each tutorial."""
    for page in notebook_pages():
        content = nbformat.writes(notebook(page, config["site_url"] or None)) + "\n"
        path = page.removeprefix("docs/").removesuffix(".md") + ".ipynb"
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Link the notebook below the title."""
    uri = page.file.src_uri
    if f"docs/{uri}" not in notebook_pages():
        return markdown
    name = uri.rpartition("/")[2].removesuffix(".md") + ".ipynb"
    title, _, rest = markdown.partition("\n")
    link = f'[Download this page as a notebook]({name}){{ download="{name}" }}'
    return f"{title}\n\n{link}\n{rest}"
