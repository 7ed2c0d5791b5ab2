"""The client for code that is not asynchronous: scripts, notebooks, WSGI applications.

::

    from perdure import AppendRecord, SeqNum
    from perdure.sync import S2

    with S2.open("./data") as s2:
        stream = s2.basins.ensure("my-first-basin", create_stream_on_append=True).stream("greetings")
        stream.append([AppendRecord("Hello")])
        with stream.read_session(SeqNum(0), wait=0) as records:
            for record in records:
                print(record.seq_num, record.text)

The classes are those of `perdure`, embedded or over HTTP, method by method with the same arguments and errors; `close`
is what `aclose` is there, and a ticket's `result()` what awaiting it is. Records, positions, configurations and errors
are the very ones of `perdure`. Each client has one thread of its own, in which the asynchronous code runs.

- **Threads.** Any thread may call, many at once, and also one that runs an event loop, such as a notebook's; that loop
  stands still meanwhile, as with any blocking call.
- **Time-outs.** `with timeout(5): …` bounds the calls within. Ctrl-C, or any other exception in the waiting thread,
  cancels the call.
- **Forks.** A client does not survive a fork: a call in the child raises `UsageError`, and so does opening a directory
  that the parent had open. In a server that forks its workers, open the client in each worker, and not before the
  fork: besides, a fork may catch SQLite with a lock in its hand, which nobody gives back in the child.
- **Closing.** A `with` block, or `close`. A client that is forgotten is closed when it is collected, with a
  `ResourceWarning`; at the end of the process its thread is no hindrance.
- **Bulk.** Each call passes from thread to thread and back. Where there are many records, append them in batches, and
  read them with `batches()`.
"""

from .background import timeout
from .faces import (
    S2,
    AccessTokens,
    AppendSession,
    AppendTicket,
    Basin,
    Basins,
    Locations,
    Metrics,
    Producer,
    ReadSession,
    RecordTicket,
    Stream,
    Streams,
)

__all__ = [
    "S2",
    "AccessTokens",
    "AppendSession",
    "AppendTicket",
    "Basin",
    "Basins",
    "Locations",
    "Metrics",
    "Producer",
    "ReadSession",
    "RecordTicket",
    "Stream",
    "Streams",
    "timeout",
]
