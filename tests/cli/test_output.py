"""What is printed: nothing that a name holds reaches the terminal as a command, and charts are in proportion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.charts import bar, spark_line
from perdure.cli.output import printable


@given(st.text())
def test_no_character_is_left_that_a_terminal_would_obey(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "\x1b" not in shown
    assert (shown == text) == text.isprintable()


def test_what_is_kept_is_kept() -> None:
    assert printable("a\tb\nc\x1b[0m", keep="\n") == "a\\tb\nc\\x1b[0m"


@given(st.lists(st.floats(0, 1e12), max_size=300), st.integers(0, 80))
def test_a_spark_line_fits_and_shows_the_peak(values: list[float], width: int) -> None:
    line = spark_line(values, width)
    assert len(line) == min(width, len(values))
    if line and max(values) > 0:
        assert "█" in line


def test_levels_are_in_proportion() -> None:
    assert spark_line([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert spark_line([0, 9, 0, 0], 2) == "█▁"
    assert spark_line([0, 0], 8) == "▁▁"


@pytest.mark.parametrize(("value", "text"), [(0, ""), (1e-9, "▏"), (1, "█"), (1.5, "█▌"), (4, "████"), (9, "████")])
def test_a_bar_is_as_long_as_its_value(value: float, text: str) -> None:
    assert bar(value, 4, 4) == text
