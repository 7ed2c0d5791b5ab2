"""The page of what everything costs says what the benchmark measured."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import SCENARIOS
from bench.scenario import Row
from tools.manual import results
from tools.manual.charts import Bar, chart

SVG = "{http://www.w3.org/2000/svg}"
FILES = {path.stem: results.Results.read(path) for path in sorted(results.DATA.glob("*.json"))}


def test_the_page_and_its_figures_are_those_of_the_data() -> None:
    """After `make bench ARGS="--json docs/results/two-cores.json"` they are: it writes both."""
    text, figures = results.page(results.PAGE.read_text(), FILES)
    assert text == results.PAGE.read_text()
    assert {f"{name}.svg" for name in figures} == {path.name for path in results.DATA.glob("*.svg")}
    for name, figure in figures.items():
        assert figure == (results.DATA / f"{name}.svg").read_text()


def test_every_scenario_is_on_the_page() -> None:
    named = re.findall(r"^<!-- results: \w+: (.+?)(?: beside .*)? -->$", results.PAGE.read_text(), re.MULTILINE)
    assert sorted(" ".join(named).split()) == sorted(SCENARIOS)
    assert set(FILES["two-cores"].rows) == set(SCENARIOS)


def test_a_result_that_is_measured_anew_is_told_anew(tmp_path: Path) -> None:
    found = json.loads((results.DATA / "two-cores.json").read_text())
    found["results"]["append_idle"]["rows"][0] |= {"value": 12.25, "passed": False}
    (tmp_path / "two-cores.json").write_text(json.dumps(found))
    changed = {**FILES, "two-cores": results.Results.read(tmp_path / "two-cores.json")}
    text, figures = results.page(results.PAGE.read_text(), changed)
    assert re.search(r"^\| append of 1 KB, idle, p50 \| 12\.2 ms \| ≤ .* \| miss \|$", text, re.MULTILINE)
    assert "12.2 ms" in figures["embedded"]


def test_several_opponents_are_told_apart() -> None:
    rows = [Row("first", 2.0, "× one", None), Row("first", 0.5, "× another", None), Row("size", 3.0, "MiB", None)]
    figure = results.figure_of("n", rows)
    assert re.findall(r">(first.*?)</text>", figure) == ["first, beside one", "first, beside another"]
    assert re.findall(r">([\d.]+ ×) ?</text>", figure)[-2:] == ["2.00 ×", "0.50 ×"]


@given(
    st.lists(
        st.builds(Bar, st.text("ab<&\"' ", min_size=1), st.floats(1e-6, 1e6), st.text("0<& ms", min_size=1)), min_size=1
    )
)
def test_a_chart_is_an_image_with_its_meaning_in_words(bars: list[Bar]) -> None:
    tree = ElementTree.fromstring(chart(bars, name="n", title="How far", worse="less", better="more"))
    described = " ".join(tree.get("aria-labelledby", "").split())
    assert described == "n-title n-desc"
    words = tree.findtext(f"{SVG}desc") or ""
    assert all(bar.shown.strip() in words for bar in bars)
    drawn = tree.findall(f"{SVG}rect")
    assert [shape.get("class") for shape in drawn] == ["good" if bar.ratio >= 1 else "miss" for bar in bars]
    _, _, width, height = map(float, tree.get("viewBox", "").split())
    for shape in drawn:
        assert 0 <= float(shape.get("x", "")) <= float(shape.get("x", "")) + float(shape.get("width", "")) <= width
        assert float(shape.get("y", "")) <= height


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_of_results_says_where_they_are_from(name: str) -> None:
    assert {"machine", "disk", "versions"} <= set(FILES[name].header)
