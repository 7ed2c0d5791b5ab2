"""The calculator that models may call: as exact as it says, and nothing but a calculator."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.demo.arithmetic import MAX_CHARACTERS, BadExpression, calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1840 + 960", "2800"),
        (" (1840+960) / 2 ", "1400"),
        ("2 × 3 ÷ 4", "1.5"),
        ("-(2 - 5) * +4", "12"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3", "0.333333333333"),
        ("1_000 * 2.5", "2500"),
        ("1e3 + 1", "1001"),
        ("238.4 * 1000000 / 960", "248333.333333"),
    ],
)
def test_expressions_have_their_value(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "two + two",
        "1 +",
        "2 ** 9999",
        "9 // 2",
        "__import__('os')",
        "(lambda: 1)()",
        "[1][0]",
        "True + 1",
        "1j",
        "'a' * 3",
        "1 if 2 else 3",
        "1 / (2 - 2)",
        "1e999999999",
        "(" * 150,
        "1\n+1 1",
        "1" * (MAX_CHARACTERS + 1),
        "\0",
    ],
)
def test_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(BadExpression):
        calculate(expression)


@given(st.text(max_size=MAX_CHARACTERS + 10) | st.text("0123456789.+-*/() e_", max_size=60))
def test_whatever_a_model_writes_is_a_number_or_refused(expression: str) -> None:
    try:
        value = calculate(expression)
    except BadExpression:
        return
    float(value)


@given(st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=8))
def test_sums_and_products_of_whole_numbers_are_exact(numbers: list[int]) -> None:
    assert calculate(" + ".join(f"({number})" for number in numbers)) == str(sum(numbers))
    assert Fraction(calculate(f"{numbers[0]} * {numbers[1]}")) == numbers[0] * numbers[1]
