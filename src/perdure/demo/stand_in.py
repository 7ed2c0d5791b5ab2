"""A stand-in for a model: no intelligence, but real, varied text at the pace of one.

It says what it is. What it writes depends on what it was asked, so that two questions do not get the
same answer, and the same question in the same place gets the same words again, which makes a lost or
doubled word easy to see.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from .passages import REASONING
from .prose import FAIL_AFTER_TOKENS, THINKING_WORDS, TOKENS_PER_SECOND, StandInFailure, compose, paced, words_of

if TYPE_CHECKING:
    from .models import ModelInfo, Turn


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
        words = words_of(asked)
        yield {"type": "start"}
        yield {"type": "start-step"}
        if words & THINKING_WORDS:
            yield {"type": "reasoning-start", "id": "thought"}
            async for token in paced(choose.choice(REASONING), choose, self._gap):
                yield {"type": "reasoning-delta", "id": "thought", "delta": token}
            yield {"type": "reasoning-end", "id": "thought"}
        yield {"type": "text-start", "id": "answer"}
        sent = 0
        async for token in paced(compose(asked, words, turn, choose), choose, self._gap):
            yield {"type": "text-delta", "id": "answer", "delta": token}
            sent += 1
            if "fail" in words and sent == FAIL_AFTER_TOKENS:
                raise StandInFailure("the stand-in was asked to fail, and did")
        yield {"type": "text-end", "id": "answer"}
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": "stop"}
