"""A stand-in for a model: no intelligence, but real, varied text at the pace of one.

It says what it is. What it writes depends on what it was asked, so that two questions do not get the
same answer, and the same question in the same place gets the same words again, which makes a lost or
doubled word easy to see.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from .passages import CLOSINGS, CODE, OPENINGS, PASSAGES, POEM, REASONING, TABLE

if TYPE_CHECKING:
    from .models import ModelInfo, Turn

TOKENS_PER_SECOND: Final = 24.0

_TOKEN: Final = re.compile(r"\s*\S+|\s+")
_QUOTED_CHARACTERS: Final = 80


class StandInFailure(Exception):
    """What the stand-in raises when it is asked to fail."""


class StandIn:
    """Answers from a small stock of passages. `tokens_per_second` is its mean pace."""

    def __init__(self, *, tokens_per_second: float = TOKENS_PER_SECOND) -> None:
        if not tokens_per_second > 0:
            raise ValueError(f"tokens_per_second must be positive, got {tokens_per_second}")
        self._gap = 1 / tokens_per_second

    @property
    def info(self) -> ModelInfo:
        from .models import ModelInfo

        return ModelInfo(
            name="local stand-in",
            kind="stand-in",
            note="No AI: prepared text at a model's pace. Set OPENAI_API_KEY or OPENAI_BASE_URL for a real model.",
        )

    async def answer(self, conversation: Sequence[Turn]) -> AsyncIterator[dict[str, object]]:
        asked = next((turn.text for turn in reversed(conversation) if turn.role == "user"), "")
        turn = sum(1 for said in conversation if said.role == "user")
        choose = random.Random(hashlib.sha256(f"{turn}:{asked}".encode()).digest())
        words = set(re.findall(r"[a-z]+", asked.lower()))
        yield {"type": "start"}
        yield {"type": "start-step"}
        if words & {"think", "reason", "why", "how"}:
            yield {"type": "reasoning-start", "id": "thought"}
            async for token in self._paced(choose.choice(REASONING), choose):
                yield {"type": "reasoning-delta", "id": "thought", "delta": token}
            yield {"type": "reasoning-end", "id": "thought"}
        yield {"type": "text-start", "id": "answer"}
        sent = 0
        async for token in self._paced(_compose(asked, words, turn, choose), choose):
            yield {"type": "text-delta", "id": "answer", "delta": token}
            sent += 1
            if "fail" in words and sent == 30:
                raise StandInFailure("the stand-in was asked to fail, and did")
        yield {"type": "text-end", "id": "answer"}
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": "stop"}

    async def _paced(self, text: str, choose: random.Random) -> AsyncIterator[str]:
        """The tokens of `text`, a little unevenly, as models are."""
        for token in _TOKEN.findall(text):
            await asyncio.sleep(self._gap * choose.uniform(0.4, 1.6))
            yield token


def _compose(asked: str, words: set[str], turn: int, choose: random.Random) -> str:
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
