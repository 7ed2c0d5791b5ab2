"""Prepared text, put together for a question and given out at a model's pace."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterable
from typing import Final

from .passages import CLOSINGS, CODE, OPENINGS, PASSAGES, POEM, TABLE

TOKENS_PER_SECOND: Final = 24.0
FAIL_AFTER_TOKENS: Final = 30
"""How far an answer comes that is asked to fail."""
THINKING_WORDS: Final = frozenset({"think", "reason", "why", "how"})

_TOKEN: Final = re.compile(r"\s*\S+|\s+")
_QUOTED_CHARACTERS: Final = 80


class StandInFailure(Exception):
    """What the stand-in raises when it is asked to fail."""


def words_of(asked: str) -> set[str]:
    """The words that decide what is said."""
    return set(re.findall(r"[a-z]+", asked.lower()))


async def paced(text: str | Iterable[str], choose: random.Random, gap_seconds: float) -> AsyncIterator[str]:
    """The tokens of a text, or the pieces given, a little unevenly, as models are."""
    for token in _TOKEN.findall(text) if isinstance(text, str) else text:
        await asyncio.sleep(gap_seconds * choose.uniform(0.4, 1.6))
        yield token


def compose(asked: str, words: set[str], turn: int, choose: random.Random) -> str:
    """What to say to `asked`, whose words are `words`, as the answer to question number `turn`."""
    parts: list[str] = []
    if turn <= 1:
        parts.append(
            "I am Perdure's *local stand-in*: no AI, just prepared text, but it is streamed, stored and replayed "
            "exactly as a model's answer would be."
        )
    quoted = " ".join(asked.split())
    if quoted:
        shown = quoted if len(quoted) <= _QUOTED_CHARACTERS else quoted[:_QUOTED_CHARACTERS].rstrip() + "…"
        parts.append(choose.choice(OPENINGS).format(asked=shown.replace("*", "").replace("`", "")))
    if words & {"code", "python", "example", "show", "program"}:
        parts.append(CODE)
    if words & {"poem", "verse", "song", "rhyme"}:
        parts.append(POEM)
    if words & {"table", "compare", "difference", "list"}:
        parts.append(TABLE)
    matching = [text for topic, text in PASSAGES.items() if topic & words]
    others = [text for text in PASSAGES.values() if text not in matching]
    choose.shuffle(others)
    wanted = 8 if words & {"long", "longer", "essay", "story"} else 2
    parts.extend((matching + others)[:wanted])
    parts.append(choose.choice(CLOSINGS))
    return "\n\n".join(parts)
