"""Reads a page as a browser would, as far as tests ask."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

__all__ = ["Page", "read_page"]

VOID = {"meta", "input", "br", "link", "img"}


@dataclass
class Page:
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list[Any])
    scripts: list[tuple[dict[str, str | None], str]] = field(default_factory=list[Any])
    text: str = ""

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def charts(self) -> dict[str, Any]:
        """Each chart's specification by its name."""
        return {
            str(attributes["id"]).removeprefix("data-"): json.loads(text)
            for attributes, text in self.scripts
            if attributes.get("type") == "application/json"
        }

    @property
    def files(self) -> dict[str, str]:
        """What can be downloaded, by name."""
        return {
            str(link["download"]): base64.b64decode(str(link["href"]).partition(",")[2]).decode()
            for link in self.of("a")
            if "download" in link
        }


class _Reader(HTMLParser):
    """Complains of elements that are not closed where they should be."""

    CDATA_CONTENT_ELEMENTS = ("script", "style")

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)
        if tag == "script":
            self.page.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] == "script":
            attributes, text = self.page.scripts[-1]
            self.page.scripts[-1] = (attributes, text + data)
        elif not self.inside or self.inside[-1] != "style":
            self.page.text += data


def read_page(text: str) -> Page:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.inside
    return reader.page
