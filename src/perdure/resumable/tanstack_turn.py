"""What a fold of AG-UI events knows of the turn that it is at; nothing of it outlives the turn."""

from __future__ import annotations


class Turn:
    """Who speaks, and where each message is at."""

    def __init__(self) -> None:
        self.assistants: dict[str, None] = {}
        """The assistant's messages, in order; the last one takes what names no message."""
        self.anonymous: str | None = None
        """A message that was begun without an id, and may get one."""
        self.segments: set[str] = set()
        """The messages whose last text part goes on with the next piece."""
        self.calls: set[str] = set()
        """The tool calls whose arguments are still arriving."""
        self.steps: dict[str, str] = {}
        """The step of thinking that each message is at."""
        self.next_step: str | None = None
        self.thoughts: set[tuple[str, str | None]] = set()
        self.reasoned: set[str] = set()
        """The messages whose thoughts came as reasoning events; the ends of steps repeat them."""
        self.structured: set[str] = set()
        """The messages whose text is structured output that is still arriving."""
        self.goes_on = False
        """Whether the last run ended with tool calls, so that the turn is not over."""
        self.failed = False

    @property
    def assistant(self) -> str | None:
        """The current message of the assistant."""
        return next(reversed(self.assistants), None)

    def rename(self, message_id: str, new_id: str) -> None:
        """A message that had no id of its own has got one."""

        def renamed(name: str) -> str:
            return new_id if name == message_id else name

        self.anonymous = None
        self.assistants = {renamed(name): None for name in self.assistants}
        self.segments = {renamed(name) for name in self.segments}
        self.steps = {renamed(name): step for name, step in self.steps.items()}
        self.thoughts = {(renamed(name), step) for name, step in self.thoughts}
        self.reasoned = {renamed(name) for name in self.reasoned}
        self.structured = {renamed(name) for name in self.structured}
