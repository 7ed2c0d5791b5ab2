"""What the Anthropic page shows for an answer of the stand-in, straight from its source."""

from __future__ import annotations

from perdure.demo.messages_model import Said
from perdure.demo.messages_stand_in import MessagesStandIn
from perdure.demo.tool_loop import events_of_turn
from perdure.resumable.anthropic import messages_from_events
from tests.demo.chat_page import words


async def expected_anthropic_answer(*asked: str) -> list[str]:
    """The words of the answer to the last of these questions, thoughts and tool calls folded away."""
    said: list[Said] = []
    for question in asked:
        said += [Said("user", question), Said("assistant", "an answer")]
    model = MessagesStandIn(note="", tokens_per_second=1e6)
    shown: list[str] = []
    async for message in messages_from_events(events_of_turn(model, said[:-1])):
        content = message["content"]
        assert isinstance(content, list)
        for block in content:
            assert isinstance(block, dict)
            match block["type"]:
                case "text":
                    shown += [word for word in words(str(block["text"])) if not set(word) <= set("|-:")]
                case "thinking":
                    shown += ["How", "it", "got", "there"]
                case "tool_use":
                    given = block["input"]
                    assert isinstance(given, dict)
                    shown += [str(block["name"]), *" ".join(map(str, given.values())).split()]
    return shown
