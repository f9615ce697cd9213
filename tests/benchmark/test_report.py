"""The report: all in one file, valid, and the same in a browser without a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from snn_fusion.benchmark.accuracy_table import table
from snn_fusion.benchmark.document import document
from snn_fusion.benchmark.evaluate import Evaluation, evaluate_rows
from snn_fusion.benchmark.figures import learning_curves
from snn_fusion.benchmark.pictures import Picture, draw, read_history
from snn_fusion.benchmark.report import render
from snn_fusion.benchmark.style import COLOURS
from snn_fusion.data.manifest import Row, load
from snn_fusion.network.graph import load_graph

from .conftest import HISTORY

VOID = ("meta", "link", "br")


@pytest.fixture(scope="module")
def drawn(
    graph_folder: Path, rows: list[Row], folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, object], dict[str, Picture]]:
    graph = load_graph(graph_folder)
    evaluation: Evaluation = evaluate_rows(graph, rows, folder, seed=0)
    content = document(evaluation, graph, "a <new> network", "a folder", 0)
    history = tmp_path_factory.mktemp("history") / "history.csv"
    history.write_text(HISTORY)
    signals = {sense: load(folder, ref, sense) for sense, ref in evaluation.example.row.senses.items()}
    return content, draw(content, read_history(history), evaluation.example, signals, graph.encoding)


@pytest.fixture(scope="module")
def page(drawn: tuple[dict[str, object], dict[str, Picture]]) -> str:
    content, pictures = drawn
    return render(content, pictures, {"seed": 0, "note": "</pre><script>"})


class Reader(HTMLParser):
    """Collects links, ids and text; fails on tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.links.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words += data


def test_page_is_well_formed_and_its_ids_are_unique(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))


def test_page_needs_nothing_but_itself(page: str) -> None:
    reader = Reader(page)
    assert all(link.startswith(("#", "data:")) for _, _, link in reader.links), reader.links
    assert "script" not in reader.tags and "iframe" not in reader.tags
    assert not re.search(r"@import|url\((?!#)", page)
    inside = {link[1:] for _, _, link in reader.links if link.startswith("#")}
    assert inside | set(re.findall(r"url\(#([^)]+)\)", page)) <= set(reader.ids)


def test_page_shows_every_number_that_matters(page: str) -> None:
    words = Reader(page).words
    for part in (
        *("All senses fused", "Audio alone", "Events alone", "IMU alone", "Hard conditions", "Synaptic ops"),
        *("Accuracy by condition", "Where it errs", "How it learned", "One recording", "What was measured, and how"),
        *("n = 20", "effective ACs", "activation sparsity", "measured", "A <new> network", "</pre><script>"),
    ):
        assert part in words, part


def test_page_without_history_or_fused_rows_leaves_those_parts_out(
    graph_folder: Path, rows: list[Row], folder: Path
) -> None:
    graph = load_graph(graph_folder)
    only = [Row(r.id, r.label, r.split, r.source, {"imu": r.senses["imu"]}) for r in rows]
    evaluation = evaluate_rows(graph, only, folder, seed=0)
    content = document(evaluation, graph, "network", "folder", 0)
    pictures = draw(content, {}, evaluation.example, {}, graph.encoding)
    words = Reader(render(content, pictures, {})).words
    assert "How it learned" not in words and "All senses fused" not in words and "IMU alone" in words


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_are_announced_first(
    synthetic: bool, drawn: tuple[dict[str, dict[str, object]], dict[str, Picture]]
) -> None:
    content, _ = drawn
    changed = {**content, "data": {**content["data"], "synthetic": synthetic}}
    page = render(changed, {name: drawn[1][name] for name in ("accuracy", "time")}, {})
    assert ('class="banner"' in page) is synthetic
    if synthetic:
        assert page.index("Synthetic data.") < page.index("<h1>")


def test_pictures_take_their_colours_from_the_page(page: str) -> None:
    assert page.count("var(--audio)") > 3 and page.count("var(--fused)") > 3
    assert "#1f2328" not in page[page.index("<body>") :]


def test_terminal_table_has_a_line_a_condition_and_fits_80_columns(
    drawn: tuple[dict[str, object], dict[str, Picture]],
) -> None:
    from rich.console import Console

    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(table(drawn[0]))
    lines = console.export_text().splitlines()
    assert sum(line.lstrip().startswith(("clean", "n1", "n2", "n3", "missing", "early")) for line in lines) == 10
    assert "…" not in "".join(lines)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.mark.parametrize("width", [1200, 390])
def test_browser_shows_the_page_without_errors_requests_or_sideways_scrolling(
    width: int, page: str, browser: object, tmp_path: Path
) -> None:
    from selenium.webdriver.chrome.webdriver import WebDriver

    assert isinstance(browser, WebDriver)
    file = tmp_path / "report.html"
    file.write_text(page)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get_log("performance")
    browser.get(file.as_uri())
    requests = re.findall(r'"Network.requestWillBeSent".*?"url":"(.*?)"', str(browser.get_log("performance")))
    assert requests and all(url.startswith(("file:", "data:")) for url in requests), requests
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    small = "return [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height < 80).length"
    assert browser.execute_script(small) == 0
    assert browser.execute_script("return document.querySelectorAll('svg').length") >= 10


def test_training_and_validation_loss_are_of_the_palettes_two_clearest_colours() -> None:
    history = {"epoch": np.arange(2.0), "loss": np.array([2.0, 1.0]), "val_loss": np.array([2.0, 1.5])}
    colours = [line.get_color() for line in learning_curves(history)["loss"].axes[0].lines]
    assert {COLOURS["audio"], COLOURS["events"]} <= set(colours)
