"""AI answers on durable streams: they survive a refresh, a crash, or a change of tab.

`create_resumable_stream_context` is for any text, `perdure.resumable.aisdk` for chats of the Vercel AI SDK,
`perdure.resumable.anthropic` for those of the Anthropic Messages API, `perdure.resumable.tanstack_ai` for TanStack AI,
`perdure.resumable.openai` for the Responses API of OpenAI, and `perdure.resumable.events` for any other JSON events.
What an adapter's chat object does is in `chat`, what text streams do in `context`; the order of the layers below is
`tokens`, `tail_search`, `claim`, `lease`, then `writer` and `generation` for writing, `replay` and `following` for
reading, `stop`, `watch`, and `responses` for what goes back to the web framework. `kept_histories` keeps what adapters
have folded. `client` is the other side of all this, for programs that are no browser.
"""

from typing import TYPE_CHECKING

from .context import MakeStream as MakeStream
from .context import ResumableStreamContext as ResumableStreamContext
from .context import WaitUntil as WaitUntil
from .context import create_resumable_stream_context as create_resumable_stream_context
from .event_limit import EventTooLarge as EventTooLarge
from .generation import GenerationInterrupted as GenerationInterrupted
from .text_bodies import TextUnit as TextUnit
from .text_stream import MISSING as MISSING
from .text_stream import Missing as Missing
from .text_stream import TextStream as TextStream

if TYPE_CHECKING:
    from .text_answers import text_response as text_response

__all__ = [
    "MISSING",
    "EventTooLarge",
    "GenerationInterrupted",
    "MakeStream",
    "Missing",
    "ResumableStreamContext",
    "TextStream",
    "TextUnit",
    "WaitUntil",
    "create_resumable_stream_context",
    "text_response",
]


def __getattr__(name: str) -> object:
    """What needs Starlette is imported by those who use it."""
    if name == "text_response":
        from .text_answers import text_response

        return text_response
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
