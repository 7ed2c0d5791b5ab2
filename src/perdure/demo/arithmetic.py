"""Arithmetic as a tool for models: numbers, the four operations, a sign and brackets, and no way to anything else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Final

MAX_CHARACTERS: Final = 200
"""Enough for any sum that a model writes down, too short for one that keeps a processor busy."""

_SIGNIFICANT_DIGITS: Final = 12

_BINARY: Final[dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Fraction], Fraction]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class BadExpression(ValueError):
    """What was to be calculated is no arithmetic. The text is for the model, which may try again."""


def calculate(expression: str) -> str:
    """The value of `expression`: exact for whole numbers, otherwise to twelve digits. Raises `BadExpression`."""
    if len(expression) > MAX_CHARACTERS:
        raise BadExpression(f"the expression is longer than {MAX_CHARACTERS} characters; split it")
    source = expression.strip().replace("×", "*").replace("÷", "/")
    try:
        value = _value(ast.parse(source, mode="eval").body, source)
        return str(value.numerator) if value.denominator == 1 else f"{float(value):.{_SIGNIFICANT_DIGITS}g}"
    except BadExpression:
        raise
    except ZeroDivisionError:
        raise BadExpression("division by zero") from None
    except OverflowError:
        raise BadExpression("the numbers are too large") from None
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        raise BadExpression(f"not an expression: {expression!r}; write one such as (1840 + 960) / 2") from None


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant(value=float() as value):
            # From the text, so that 0.1 is a tenth; an exponent would let a short text stand for endless digits.
            text = ast.get_source_segment(source, node) or ""
            return Fraction(value if "e" in text.lower() else text.replace("_", ""))
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return Fraction(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, source), _value(right, source))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand, source))
        case _:
            raise BadExpression("only numbers, + - * / and brackets are understood")
