"""A child made by `fork` may not use the store of its parent, and does not disturb it.

The loop runs in a thread beside the one that forks: an event loop itself does not survive being forked.
"""

from pathlib import Path

from tests.store.sqlite.scripts import run

_LOOP = """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def on_loop(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

async def one_stream(path):
    engine = await SqliteEngine.open(path)
    entry = await engine.stream("test-basin", "s")
    return engine, entry.stream_id if entry else await make_stream(engine)

async def append(engine, stream, *words):
    await asyncio.gather(*[engine.append(stream, batch(word)) for word in words])
"""


def test_the_child_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    lines = run(
        _LOOP
        + """
async def follow(engine, stream):
    engine.hub.follow(stream).__enter__()

async def in_child():
    for use in (
        lambda: engine.append(stream, batch("x")),
        lambda: engine.state(stream),
        lambda: engine.stream("test-basin", "s"),
        lambda: engine.change_basin("test-basin", None),
    ):
        try:
            await use()
        except PerdureError as exc:
            print(type(exc).__name__, exc)
    await engine.aclose()

engine, stream = on_loop(one_stream(PATH))
on_loop(follow(engine, stream))
flood = asyncio.run_coroutine_threadsafe(append(engine, stream, *map(str, range(2000))), loop)
child = os.fork()
if child == 0:
    asyncio.run(in_child())  # and then the usual end of an interpreter
else:
    print("child ended with", os.waitpid(child, 0)[1])
    flood.result(20)
    on_loop(append(engine, stream, "after"))
    print(len(on_loop(bodies_of(engine, stream))))
    on_loop(engine.aclose())
""",
        tmp_path,
    )
    refusal = "UsageError this store was opened before a fork; open it after the fork only, in the child"
    assert lines == [refusal] * 4 + ["child ended with 0", "2001"]


def test_the_child_may_not_open_what_its_parent_had_open(tmp_path: Path) -> None:
    """Its SQLite would believe that it holds the locks of its parent, and lose what it appended when that closes."""
    lines = run(
        _LOOP
        + """
from perdure.store.sqlite.backup import create_backup

async def in_child():
    try:
        await SqliteEngine.open(os.path.join(PATH, "..", os.path.basename(PATH)))
    except PerdureError as exc:
        print(type(exc).__name__, "open in the parent process" in str(exc))

engine, stream = on_loop(one_stream(PATH))
child = os.fork()
if child == 0:
    asyncio.run(in_child())
    try:
        create_backup(PATH, PATH + "-backup")
    except PerdureError as exc:
        print(type(exc).__name__, "open in the parent process" in str(exc))
else:
    print("child ended with", os.waitpid(child, 0)[1])
    on_loop(append(engine, stream, "parent"))
    print(on_loop(bodies_of(engine, stream)), os.path.exists(PATH + "-backup"))
    on_loop(engine.aclose())
""",
        tmp_path / "data",
    )
    assert lines == ["UsageError True", "UsageError True", "child ended with 0", "['parent'] False"]


def test_the_child_may_open_what_its_parent_had_closed(tmp_path: Path) -> None:
    lines = run(
        _LOOP
        + """
async def in_child():
    engine, stream = await one_stream(PATH)
    await append(engine, stream, "child")
    await engine.aclose()

engine, stream = on_loop(one_stream(PATH))
on_loop(append(engine, stream, "parent"))
on_loop(engine.aclose())
child = os.fork()
if child == 0:
    asyncio.run(in_child())
else:
    os.waitpid(child, 0)
    engine, stream = on_loop(one_stream(PATH))
    print(on_loop(bodies_of(engine, stream)))
    on_loop(engine.aclose())
""",
        tmp_path,
    )
    assert lines == ["['parent', 'child']"]


def test_a_child_that_lives_on_keeps_no_lock_of_its_parent(tmp_path: Path) -> None:
    """The parent is killed in its turn to write, while a child that had all its files goes on living."""
    lines = run(
        _LOOP
        + """
import signal

def parent(ready):
    globals()["loop"] = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    engine, stream = on_loop(one_stream(PATH))
    on_loop(append(engine, stream, "x"))
    inside = threading.Event()
    def stay(_):
        inside.set()
        signal.pause()
    asyncio.run_coroutine_threadsafe(engine.change_basin("some-basin", stay), loop)
    inside.wait()
    child = os.fork()
    if child != 0:
        os.write(ready, b"%d\\n" % child)
    signal.pause()

read, write = os.pipe()
parent_id = os.fork()
if parent_id == 0:
    parent(write)
child_id = int(os.read(read, 100))
os.kill(parent_id, signal.SIGKILL)
os.waitpid(parent_id, 0)
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
try:
    engine, stream = on_loop(one_stream(PATH))
    on_loop(append(engine, stream, "y"))
    print(on_loop(bodies_of(engine, stream)))
    on_loop(engine.aclose())
finally:
    os.kill(child_id, signal.SIGKILL)
""",
        tmp_path,
    )
    assert lines == ["['x', 'y']"]


def test_the_end_of_a_child_does_not_remove_a_private_directory(tmp_path: Path) -> None:
    lines = run(
        _LOOP
        + """
engine, stream = on_loop(one_stream(":memory:"))
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
on_loop(append(engine, stream, "x"))
print(on_loop(bodies_of(engine, stream)), os.path.exists(engine.path))
on_loop(engine.aclose())
print(os.path.exists(engine.path))
""",
        tmp_path,
    )
    assert lines == ["['x'] True", "False"]
