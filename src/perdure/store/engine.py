"""What a storage engine must provide: the contract behind every operation of the store.

One suite (`tests/store/engine_suite.py`) checks every engine against it.

- **Order.** Appends to one stream are sequenced in the order of the calls to `append` of one engine
  object; those of several engine objects interleave batch by batch.
- **Atomicity.** A batch becomes durable and visible whole or not at all. The decision
  (`sequencing.sequence`) is taken inside the transaction that writes its outcome.
- **Acks.** An answer, acknowledgement or rejection alike, is given only when everything it reveals
  is durable, in the engine's sense of the word, which its documentation states. The `tail` of an ack is
  the stream's when the batch became durable (store API, section 5.1): past the `end` of the batch if
  later ones were committed with it. `sequencing` cannot know of those, so engines put it in.
- **Lanes.** Batches submitted on one `Lane` are a session on one stream: once one of them is rejected or
  fails, no later one of that lane is applied, even if it was submitted already. A lane has no other holes.
- **Reads** see durable batches only, never a part of one, and hide what is trimmed or expired.
- **Errors.** `errors.StorageFailed` when the outcome is unknown, `errors.StorageFull` when nothing was
  written, `errors.Unavailable` when the engine is closed, or cannot reach what it keeps streams in. An
  engine that can find out what became of a write does so before it answers. One that cannot, as after
  a failed sync, refuses to go on (`stopped`): it must be opened anew.
- **Clocks.** Blocks expire by the clock of the engine that looks at them; engines on one store should agree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from ..errors import PerdureError
from ..model.batches import AppendAck, AppendInput
from .access_tokens import AccessTokenEntry
from .catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry, StreamId
from .hub import Hub
from .sequencing import Block, StreamState
from .usage import UsageBook


class Lane:
    """The batches of one append session, which stop for good at the first that is not applied."""

    __slots__ = ("failure",)

    def __init__(self) -> None:
        self.failure: PerdureError | None = None
        """Why the lane ended; engines set it and refuse everything later on the lane with it."""


class BlockRange(Struct, frozen=True):
    """What a read found: `blocks` in order, all that `state` knows of and the bounds allow.

    They may be newer than `state`, never older, so nobody believes too early that they have seen
    everything. The first may begin below the wanted sequence number, and records below
    `state.trim_point` are not to be shown. `more` tells that further blocks may exist.
    """

    state: StreamState
    deleted: bool
    blocks: tuple[Block, ...]
    more: bool


class Engine(Protocol):
    """A place that keeps basins and streams. All calls belong to the event loop that opened it."""

    @property
    def hub(self) -> Hub:
        """Where followers of this process are woken."""
        ...

    @property
    def usage(self) -> UsageBook:
        """What is kept about the use of the store. Its calls fail as the engine's own do."""
        ...

    @property
    def stopped(self) -> asyncio.Event:
        """Set once the engine refuses to go on until it is opened anew, as after a failed sync."""
        ...

    async def aclose(self) -> None:
        """Answer what waits, wake all followers, and release everything. Idempotent.

        From the call on, every other call raises `Unavailable`, so a follower's next look does too.
        """
        ...

    # Streams of records ---------------------------------------------------------------------------

    def append(self, stream: StreamId, batch: AppendInput, lane: Lane | None = None) -> asyncio.Future[AppendAck]:
        """Queue `batch` for the stream; the future resolves when it is durable, or is refused.

        Rejections: those of `sequencing.sequence`, `StreamDeletionPending`, `StreamNotFound` when this
        incarnation of the stream is gone. Cancelling the future withdraws the batch only if the
        engine has not taken it yet, and never on a lane, which would get a hole by it.
        """
        ...

    async def append_first(
        self,
        basin: str,
        name: str,
        decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange],
        batch: AppendInput,
    ) -> tuple[StreamEntry, AppendAck]:
        """Find or create a stream as `change_stream` does, and append `batch` to it, at best as one transaction.

        Gives the stream and the ack. If the batch is refused, as `append` refuses it, the stream that was created
        stays; what `decide` raises is raised, and nothing has changed.
        """
        ...

    async def state(self, stream: StreamId) -> StreamState:
        """The durable state of a stream. Raises `StreamNotFound`, `StreamDeletionPending`."""
        ...

    async def read_blocks(self, stream: StreamId, start_seq: int, *, max_records: int, max_bytes: int) -> BlockRange:
        """Blocks from the one that holds `start_seq`, or the first after it.

        Whole blocks while they fit both bounds (metered bytes), but at least one if there is one.
        Expired blocks are left out. Raises `StreamNotFound` when this incarnation is gone.
        """
        ...

    async def find_timestamp(self, stream: StreamId, timestamp: int) -> Block | None:
        """The first retained block whose last record is at or after `timestamp`, or None."""
        ...

    # The catalogue --------------------------------------------------------------------------------

    async def basin(self, name: str) -> BasinEntry | None: ...

    async def stream(self, basin: str, name: str) -> StreamEntry | None: ...

    async def list_basins(self, prefix: str, start_after: str, limit: int) -> tuple[BasinEntry, ...]:
        """Up to `limit` basins that start with `prefix` and sort after `start_after`, by UTF-8 bytes."""
        ...

    async def list_streams(self, basin: str, prefix: str, start_after: str, limit: int) -> tuple[StreamEntry, ...]: ...

    async def change_basin(self, name: str, decide: Callable[[BasinEntry | None], BasinChange]) -> BasinChange:
        """Run `decide` on the basin and write what it says, as one transaction.

        `decide` must be pure: an engine may run it more than once.
        """
        ...

    async def change_stream(
        self, basin: str, name: str, decide: Callable[[BasinEntry | None, StreamEntry | None], StreamChange]
    ) -> StreamChange:
        """Run `decide` on the stream and write what it says, as one transaction.

        An entry whose `deleted_at` becomes set gets the terminal trim in the same transaction.
        """
        ...

    # Access tokens --------------------------------------------------------------------------------

    async def find_access_tokens(self, secret_hashes: Sequence[bytes]) -> tuple[AccessTokenEntry, ...]:
        """The tokens with these hashes, in no particular order; a hash that no token has is left out."""
        ...

    async def list_access_tokens(self, prefix: str, start_after: str, limit: int) -> tuple[AccessTokenEntry, ...]: ...

    async def change_access_token(
        self, token_id: str, decide: Callable[[AccessTokenEntry | None], AccessTokenEntry | None]
    ) -> AccessTokenEntry | None:
        """Run `decide` on the token and write what it says, None for no token, as one transaction.

        `decide` must be pure: an engine may run it more than once. An engine may remove tokens that are
        `access_tokens.is_forgettable` at any time.
        """
        ...
