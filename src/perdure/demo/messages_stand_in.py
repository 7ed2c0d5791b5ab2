"""The stand-in where the demo speaks the Messages API: prepared text, thoughts and tool calls, as the API streams them.

What it does depends on what was asked and on nothing else, so that a lost or doubled word is easy to see. A company
of the table or a sum in the question makes it call tools, and so does an e-mail, where it is offered the tool that
sends one; ask it to *think*, or to *fail*.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from .arithmetic import BadExpression, calculate
from .companies import COMPANIES
from .messages_model import Said
from .models import ModelInfo
from .passages import CLOSINGS, REASONING
from .prose import FAIL_AFTER_TOKENS, THINKING_WORDS, TOKENS_PER_SECOND, StandInFailure, compose, paced, words_of
from .tools import CALCULATE, COMPANY_LOOKUP, SEND_EMAIL, TOOLS, Tool

Event = Mapping[str, object]

_SUM: Final = re.compile(r"[\d(][\d\s.()+*/×÷-]*[\d)]")
_ADDRESS: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MAIL_WORDS: Final = frozenset({"mail", "email"})
_INPUT_PIECE: Final = 6
"""Characters of a tool's input that come at once."""


class MessagesStandIn:
    """Answers like the Messages API. `tokens_per_second` is its mean pace, `note` what the page tells about it."""

    def __init__(self, *, note: str, tokens_per_second: float = TOKENS_PER_SECOND) -> None:
        self._note = note
        self._gap = 1 / tokens_per_second

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(name="local stand-in", kind="stand-in", note=self._note)

    async def stream(
        self, said: Sequence[Said], *, may_call: bool, tools: Sequence[Tool] = TOOLS
    ) -> AsyncIterator[Event]:
        asked, turn, results = _situation(said)
        choose = random.Random(hashlib.sha256(f"{turn}:{len(results)}:{asked}".encode()).digest())
        words = words_of(asked)
        mails = bool(words & _MAIL_WORDS) and any(tool["name"] == SEND_EMAIL for tool in tools)
        call = _next_call(asked, words, results, mails=mails) if may_call else None
        yield _message_start(sum(len(str(message.content)) for message in said) // 4)
        index = tokens = 0
        if words & THINKING_WORDS and not results:
            yield _block_start(index, {"type": "thinking", "thinking": "", "signature": ""})
            async for token in paced(choose.choice(REASONING), choose, self._gap):
                yield _delta(index, {"type": "thinking_delta", "thinking": token})
            yield _delta(index, {"type": "signature_delta", "signature": secrets.token_urlsafe(12)})
            yield {"type": "content_block_stop", "index": index}
            index += 1
        text = _before(call, results) if call else _answer(asked, words, turn, results, choose, mails=mails)
        yield _block_start(index, {"type": "text", "text": ""})
        async for token in paced(text, choose, self._gap):
            yield _delta(index, {"type": "text_delta", "text": token})
            tokens += 1
            if "fail" in words and tokens == FAIL_AFTER_TOKENS:
                raise StandInFailure("the stand-in was asked to fail, and did")
        yield {"type": "content_block_stop", "index": index}
        if call:
            index += 1
            name, given = call
            block = {"type": "tool_use", "id": f"toolu_{secrets.token_hex(8)}", "name": name, "input": {}}
            yield _block_start(index, block)
            written = json.dumps(given, ensure_ascii=False)
            pieces = [written[at : at + _INPUT_PIECE] for at in range(0, len(written), _INPUT_PIECE)]
            async for piece in paced(pieces, choose, self._gap):
                yield _delta(index, {"type": "input_json_delta", "partial_json": piece})
            yield {"type": "content_block_stop", "index": index}
        reason = "tool_use" if call else "end_turn"
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": max(1, tokens)}}
        yield {"type": "message_stop"}


def _situation(said: Sequence[Said]) -> tuple[str, int, list[str]]:
    """The last question, its number, and what the tools have said since."""
    asked, turn, results = "", 0, list[str]()
    for message in said:
        if message.role != "user":
            continue
        blocks = message.content if isinstance(message.content, list) else [{"text": message.content}]
        for block in blocks:  # results of tools come first; a question may follow them
            if "text" in block:
                asked, turn, results = str(block["text"]), turn + 1, []
            else:
                results.append(str(block.get("content", "")))
    return asked, turn, results


def _next_call(asked: str, words: set[str], results: list[str], *, mails: bool) -> tuple[str, dict[str, object]] | None:
    """The tool that is still needed: an e-mail is sent; else each company is looked up, then the sum is done."""
    if mails:
        return None if results else (SEND_EMAIL, _mail(asked))
    lower = asked.lower()
    named = [company.name for company in COMPANIES if company.name.lower() in lower]
    named.sort(key=lambda name: lower.index(name.lower()))
    if len(results) < len(named):
        return COMPANY_LOOKUP, {"name": named[len(results)]}
    expression = _sum_over(words, results) if named else _sum_in(asked)
    if expression and len(results) == len(named):
        return CALCULATE, {"expression": expression}
    return None


def _mail(asked: str) -> dict[str, object]:
    address = _ADDRESS.search(asked)
    return {"to": address[0] if address else "you@example.com", "subject": "From the stand-in", "text": asked}


def _sum_in(asked: str) -> str | None:
    """A sum that is written out in the question."""
    for found in _SUM.findall(asked):
        expression = found.strip()
        try:
            if calculate(expression) != expression and re.search(r"[+*/×÷-]", expression):
                return str(expression)
        except BadExpression:
            continue
    return None


def _sum_over(words: set[str], results: list[str]) -> str | None:
    """The sum that the question asks of the companies that were looked up."""
    rows = [row for row in map(_row, results) if row]
    field = "revenue_million_eur" if words & {"revenue", "earn", "earns", "turnover"} else "employees"
    values = [str(row[field]) for row in rows]
    if words & {"together", "total", "sum", "altogether", "combined"} and len(values) > 1:
        return " + ".join(values)
    if words & {"average", "mean"} and values:
        return f"({' + '.join(values)}) / {len(values)}"
    if words & {"more", "difference", "larger", "bigger"} and len(values) == 2:
        return " - ".join(values)
    if "per" in words and len(rows) == 1:
        return f"{rows[0]['revenue_million_eur']} * 1000000 / {rows[0]['employees']}"
    return None


def _row(result: str) -> dict[str, object] | None:
    """A result of the company table; None for any other one."""
    try:
        row = json.loads(result)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _before(call: tuple[str, dict[str, object]], results: list[str]) -> str:
    name, given = call
    if name == SEND_EMAIL:
        return f"I have written an e-mail to {given['to']}. May I send it?"
    if name == CALCULATE:
        return f"{'Now' if results else 'First'} I work out `{given['expression']}`."
    return f"{'Then' if results else 'First'} I look up {given['name']}."


def _answer(asked: str, words: set[str], turn: int, results: list[str], choose: random.Random, *, mails: bool) -> str:
    if not results:
        return compose(asked, words, turn, choose)
    if mails:
        return "\n\n".join([results[-1], choose.choice(CLOSINGS)])
    parts = ["Here is what the tools gave."]
    rows = [row for row in map(_row, results) if row]
    if rows:
        parts.append("| company | city | founded | employees | revenue |\n| --- | --- | ---: | ---: | ---: |")
        parts[-1] += "".join(
            "\n| {name} | {city} | {founded} | {employees} | €{revenue_million_eur}m |".format(**row) for row in rows
        )
    parts += [f"That comes to **{result}**." for result in results if _row(result) is None]
    return "\n\n".join(parts)


def _message_start(input_tokens: int) -> Event:
    message: dict[str, object] = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": "perdure-stand-in",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": input_tokens, "output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


def _block_start(index: int, block: Mapping[str, object]) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, delta: Mapping[str, object]) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": delta}
