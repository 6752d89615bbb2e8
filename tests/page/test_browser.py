"""A report in headless Chromium: opened, hovered, filtered, printed to PDF.

Needs playwright (extra `dev`) and a Chromium of the system's, such as Debian's package.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nvmc
from nvmc.cli import main
from nvmc.models import zoo_path
from nvmc.page.report import report_of

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 120_000
"""How long a chart may take to be drawn before the test takes it for hanging."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)}")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with two networks and every kind of chart, from a folder with a hostile name."""
    folder = tmp_path_factory.mktemp("browser")
    names = ("<script>alert(1).nvmc", "plain.nvmc")
    for name in names:
        words = ["compile", "zoo:mlp3-digits", "--device", "fefet2", "-o", str(folder / name)]
        assert main(words) == 0
    path = folder / "report.html"
    words = ["--data", "digits", "--limit", "60", "--runs", "20", "--goal", "95%"]
    words += ["--sweep", "sigma=0.1,0.2", "--sensitivity", "--uncertainty"]
    assert main(["report", *(str(folder / n) for n in names), *words, "-o", str(path)]) == 0
    assert path.stat().st_size < 5_000_000
    return path


def _context(browser: Any, **options: Any) -> Any:
    """A context that waits long, for loading too: other work may take the processor."""
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    return context


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Any]:
    context = _context(browser, viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("console", lambda text: said.append(text.text) if text.type == "error" else None)
    page.on("request", lambda one: said.append(one.url) if one.url.startswith("http") else None)
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", timeout=WAIT_MS)
    yield page
    assert said == []
    context.close()


def test_every_chart_is_drawn_and_says_its_values(opened: Any) -> None:
    figures = opened.locator("figure")
    assert figures.count() >= 8
    assert opened.locator("figure.failed").count() == 0
    assert opened.locator("figure .chart svg").count() == figures.count()
    assert opened.locator("h1").inner_text().startswith("<script>alert(1) against plain")
    bar = opened.locator("#chart-histogram .mark-rect path").last
    box = bar.bounding_box()
    # Its middle is under the line of the ideal chip, which has values of its own.
    bar.hover(position={"x": box["width"] / 4, "y": box["height"] / 2})
    tip = opened.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "chips" in tip.inner_text()


def test_readers_choose_and_filter(opened: Any) -> None:
    lines = opened.locator("#chart-shares .mark-line path")
    assert lines.count() == 2
    box = opened.locator("#figure-shares input[type=checkbox]").last
    box.focus()
    opened.keyboard.press("Space")
    opened.wait_for_function(
        "document.querySelectorAll('#chart-shares .mark-line path').length < 2"
    )
    places = opened.locator("#chart-tile-1")
    before = places.inner_html()
    opened.select_option("#figure-tile-1 select[data-param=layer]", label="fc3.weight")
    opened.wait_for_function(
        "before => document.querySelector('#chart-tile-1').innerHTML !== before", arg=before
    )
    opened.locator("#block-chips summary").click()
    opened.locator("#block-chips input[type=search]").fill("plain")
    told = opened.locator("#block-chips output")
    assert told.inner_text() == "20 of 40 rows"
    assert opened.locator("#table-chips tbody tr:visible").count() == 20


def test_charts_are_saved_as_svg_and_tables_as_csv(opened: Any, tmp_path: Path) -> None:
    with opened.expect_download() as waiting:
        opened.locator("[data-svg=histogram]").click()
    waiting.value.save_as(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    with opened.expect_download() as waiting:
        opened.locator("a[download='chips.csv']").click()
    waiting.value.save_as(tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 41


def test_the_keyboard_reaches_the_results_first(opened: Any) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.url.endswith("#main")


def test_no_page_is_wider_than_its_window(browser: Any, file: Path) -> None:
    for width, scheme in ((400, "light"), (1280, "dark")):
        context = _context(
            browser, viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-charts=drawn]", timeout=WAIT_MS)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (light == "rgb(255, 255, 255)") == (scheme == "light")
        context.close()


def test_it_prints_and_reads_without_scripts(browser: Any, file: Path, tmp_path: Path) -> None:
    context = _context(browser, color_scheme="dark", java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    assert "the tables have the same numbers" in page.locator("footer").inner_text()
    assert page.locator(".control:visible").count() == 0
    page.emulate_media(media="print")
    assert page.locator("nav:visible").count() == 0
    context.close()
    page = _context(browser).new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", timeout=WAIT_MS)
    printed = page.pdf(path=tmp_path / "a.pdf", format="A4", print_background=True)
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") >= 5
    page.close()


def test_a_result_writes_its_own_page(browser: Any, tmp_path: Path) -> None:
    x = nvmc.load_data("digits", limit=30)
    target = nvmc.make_target("fefet2")
    compiled = nvmc.compile(zoo_path("mlp3-digits"), target, output=tmp_path / "a.nvmc")
    result = nvmc.simulate(compiled, data=x, runs=5)
    result.report(tmp_path / "a.html", nvmc.tile_map(compiled), goal=0.9, date="2026-11-30")
    page = _context(browser).new_page()
    page.goto((tmp_path / "a.html").as_uri())
    page.wait_for_selector("html[data-charts=drawn]", timeout=WAIT_MS)
    assert "2026-11-30" in page.locator("header").inner_text()
    assert report_of(result, goal=0.9).populations[0].reached is not None
    page.close()
