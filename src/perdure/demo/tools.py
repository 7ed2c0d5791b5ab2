"""The tools that a model of the demo may call, as the Messages API wants them described and answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from .arithmetic import BadExpression, calculate
from .companies import COMPANIES, find_company

COMPANY_LOOKUP: Final = "company_lookup"
CALCULATE: Final = "calculate"
SEND_EMAIL: Final = "send_email"

Tool = Mapping[str, object]

TOOLS: Final[tuple[Tool, ...]] = (
    {
        "name": COMPANY_LOOKUP,
        "description": (
            "City, trade, year of foundation, employees and yearly revenue (millions of euros) of a company. "
            f"The table has {', '.join(company.name for company in COMPANIES)}."
        ),
        "input_schema": {
            "type": "object",
            "properties": {"name": {"type": "string", "description": "the company's name"}},
            "required": ["name"],
        },
    },
    {
        "name": CALCULATE,
        "description": "The value of an arithmetic expression of numbers, + - * / and brackets.",
        "input_schema": {
            "type": "object",
            "properties": {"expression": {"type": "string", "description": "such as (1840 + 960) / 2"}},
            "required": ["expression"],
        },
    },
)

TOOLS_WITH_MAIL: Final[tuple[Tool, ...]] = (
    *TOOLS,
    {
        "name": SEND_EMAIL,
        "description": "Sends an e-mail. The user is asked first, and may refuse.",
        "input_schema": {
            "type": "object",
            "properties": {
                "to": {"type": "string", "description": "the address"},
                "subject": {"type": "string"},
                "text": {"type": "string"},
            },
            "required": ["to", "subject", "text"],
        },
    },
)
"""With one that acts on the world: where it is offered, somebody has to be asked before it runs."""
NEEDS_APPROVAL: Final = frozenset({SEND_EMAIL})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as a model made it."""

    id: str
    name: str
    input: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of the call `id`, as text for the model."""

    id: str
    output: str
    is_error: bool = False


def run_tool(call: ToolCall) -> ToolResult:
    """Do what was asked. A bad call is a result too: the model reads what was wrong and may try again."""
    if call.name == COMPANY_LOOKUP:
        return _look_up(call)
    if call.name == CALCULATE:
        try:
            return ToolResult(call.id, calculate(str(call.input.get("expression", ""))))
        except BadExpression as exc:
            return ToolResult(call.id, str(exc), is_error=True)
    if call.name == SEND_EMAIL:
        return ToolResult(call.id, f"Sent to {call.input.get('to', 'nobody')}. (Not really: the demo has no mail.)")
    return ToolResult(call.id, f"there is no tool {call.name!r}", is_error=True)


def _look_up(call: ToolCall) -> ToolResult:
    name = str(call.input.get("name", ""))
    company = find_company(name)
    if company is None:
        known = ", ".join(company.name for company in COMPANIES)
        return ToolResult(call.id, f"no company is called {name!r}; the table has {known}", is_error=True)
    return ToolResult(call.id, json.dumps(asdict(company), ensure_ascii=False))
