"""The client without `async`: for scripts, notebooks and WSGI applications.

::

    python examples/blocking.py ./data

Everything is where it is in the asynchronous client, under the same names; only the `await` is gone.
"""

import sys
from threading import Thread

from perdure import AppendRecord, SeqNum
from perdure.sync import S2, Stream, timeout


def work(stream: Stream, name: str) -> None:
    for step in range(3):
        stream.append([AppendRecord(f"{name}: step {step}")])


def main(directory: str) -> None:
    # In a notebook, `s2 = S2.open("./data")` in one cell will do, and `s2.close()` at the end. In a server that
    # forks its workers (gunicorn, uWSGI), open it in each worker, not before the fork.
    with S2.open(directory) as s2:
        basin = s2.basins.ensure("blocking-example", create_stream_on_append=True)
        stream = basin.stream("log")
        start = stream.append([AppendRecord("begin")]).end.seq_num

        # Any number of threads may use the client.
        threads = [Thread(target=work, args=(stream, name)) for name in ("first", "second")]
        for thread in threads:
            thread.start()

        # A read session is a loop. This one ends after six records; without `count`, it would follow for ever.
        with stream.read_session(SeqNum(start), count=6, wait=30) as records:
            lines = sorted(record.text for record in records)
        print("\n".join(lines))
        for thread in threads:
            thread.join()

        # Batch after batch without waiting for each: a ticket's `result` is its acknowledgement.
        with stream.append_session() as session:
            tickets = [session.submit([AppendRecord(f"batch {number}")]) for number in range(3)]
        print("batches of", [ticket.result().end.seq_num - ticket.result().start.seq_num for ticket in tickets])

        # Everything that waits can be given a time limit.
        try:
            with timeout(0.2):
                stream.read(SeqNum(stream.check_tail().seq_num), wait=60)
        except TimeoutError:
            print("nothing new")

        print("streams:", [info.name for info in basin.streams.list_all()])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "./data")
