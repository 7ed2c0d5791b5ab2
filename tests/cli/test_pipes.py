"""Pipes, files and terminals of a command, read and written while the event loop goes on."""

import asyncio
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.cli.pipes import cancelled_when_closed, read_pieces, write_all
from tests.patience import PATIENCE_SECONDS

Ends = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Ends]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:  # the test has closed it
            continue


async def test_a_piece_is_there_as_soon_as_it_was_written(pipe: Ends) -> None:
    pieces = read_pieces(pipe[0])
    async with asyncio.timeout(PATIENCE_SECONDS):
        for text in (b"one", b"two"):
            coming = asyncio.ensure_future(anext(pieces))
            os.write(pipe[1], text)
            assert await coming == text
        os.close(pipe[1])
        assert [piece async for piece in pieces] == []


async def test_a_cancelled_wait_takes_nothing(pipe: Ends) -> None:
    waiting = asyncio.ensure_future(anext(read_pieces(pipe[0])))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    os.write(pipe[1], b"still there")
    assert await anext(read_pieces(pipe[0])) == b"still there"


async def test_files_and_devices_are_read_to_their_end(tmp_path: Path) -> None:
    file = tmp_path / "records"
    file.write_bytes(b"x" * 200_000)
    for path, size in ((file, 200_000), (Path(os.devnull), 0)):
        fd = os.open(path, os.O_RDONLY)
        try:
            assert sum([len(piece) async for piece in read_pieces(fd)]) == size
        finally:
            os.close(fd)


async def test_a_writer_waits_for_its_reader(pipe: Ends) -> None:
    data = os.urandom(300_000)
    writing = asyncio.ensure_future(write_all(pipe[1], data))
    read = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(read) < len(data):
            read += await anext(read_pieces(pipe[0]))
        await writing
    assert read == data


async def test_a_cancelled_writer_leaves_the_pipe_usable(pipe: Ends) -> None:
    writing = asyncio.ensure_future(write_all(pipe[1], bytes(1_000_000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not writing.done()
    writing.cancel()
    await asyncio.wait([writing])
    os.set_blocking(pipe[0], False)
    assert os.read(pipe[0], 4096) == bytes(4096)


async def test_files_and_terminals_are_written(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    await write_all(fd, b"y" * 100_000)
    with cancelled_when_closed(fd):
        await asyncio.sleep(0)
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"y" * 100_000
    main, terminal = pty.openpty()
    await write_all(terminal, b"hello")
    assert os.read(main, 100) == b"hello"
    os.close(terminal)
    os.close(main)


async def test_who_waits_learns_that_nobody_reads_any_more(pipe: Ends) -> None:
    async def wait() -> None:
        with cancelled_when_closed(pipe[1]):
            os.close(pipe[0])
            await asyncio.Event().wait()

    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(asyncio.ensure_future(wait()), PATIENCE_SECONDS)
    with pytest.raises(BrokenPipeError):
        await write_all(pipe[1], b"x")


async def test_a_cancellation_from_elsewhere_stays_one(pipe: Ends) -> None:
    async def wait() -> None:
        with cancelled_when_closed(pipe[1]):
            await asyncio.Event().wait()

    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
