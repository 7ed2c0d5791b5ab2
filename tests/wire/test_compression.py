"""Packing and unpacking, and what a peer may not make a server unpack (store API, section 2.8)."""

import gzip
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest
from perdure.wire.compression import Compression, compress, decompress

LIMIT = 64 * 1024
packings = pytest.mark.parametrize("packing", [Compression.GZIP, Compression.ZSTD])


def zstd_of_unknown_size(data: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return packer.compress(data) + packer.flush()


def unpack(data: bytes, packing: Compression, limit: int = LIMIT) -> bytes:
    return decompress(data, packing, limit=limit, code="bad_proto")


@given(st.binary(max_size=200) | st.integers(0, LIMIT).map(bytes), st.sampled_from(Compression))
def test_what_was_packed_comes_back(data: bytes, packing: Compression) -> None:
    assert unpack(compress(data, packing), packing) == data


@given(st.binary(max_size=200))
def test_other_packers_are_understood(data: bytes) -> None:
    assert unpack(gzip.compress(data), Compression.GZIP) == data
    assert unpack(zstandard.compress(data, 19), Compression.ZSTD) == data
    assert unpack(zstd_of_unknown_size(data), Compression.ZSTD) == data


@given(st.binary(max_size=200), st.sampled_from(Compression), st.integers(0, 300))
def test_any_bytes_are_unpacked_or_refused(data: bytes, packing: Compression, limit: int) -> None:
    try:
        assert len(unpack(data, packing, limit)) <= limit
    except BadRequest:
        pass


@packings
@given(data=st.binary(max_size=200), at=st.integers(0, 300), bits=st.integers(1, 255))
def test_damage_is_refused_or_harmless(packing: Compression, data: bytes, at: int, bits: int) -> None:
    packed = bytearray(compress(data, packing))
    packed[at % len(packed)] ^= bits
    try:
        unpack(bytes(packed), packing)
    except BadRequest:
        pass


@packings
def test_cut_off_data_is_refused(packing: Compression) -> None:
    packed = compress(b"some data " * 50, packing)
    for size in range(len(packed)):
        with pytest.raises(BadRequest, match=r"cut off|damaged"):
            unpack(packed[:size], packing)


@packings
@pytest.mark.parametrize("more", [b"\0", b"garbage", None])
def test_nothing_may_follow(packing: Compression, more: bytes | None) -> None:
    packed = compress(b"some data", packing)
    with pytest.raises(BadRequest, match="more bytes"):
        unpack(packed + (packed if more is None else more), packing)


def test_many_empty_members_cost_nothing() -> None:
    with pytest.raises(BadRequest, match="one member"):
        unpack(gzip.compress(b"") * 100_000, Compression.GZIP)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("packing", ["gzip", "zstd", "zstd of unknown size", "none"])
def test_the_limit_is_inclusive(packing: str, size: int) -> None:
    data = bytes(size)
    packed, how = {
        "gzip": (gzip.compress(data), Compression.GZIP),
        "zstd": (zstandard.compress(data), Compression.ZSTD),
        "zstd of unknown size": (zstd_of_unknown_size(data), Compression.ZSTD),
        "none": (data, Compression.NONE),
    }[packing]
    if size <= LIMIT:
        assert unpack(packed, how) == data
        return
    with pytest.raises(BadRequest, match=str(LIMIT)) as caught:
        unpack(packed, how)
    assert caught.value.code == "bad_proto"


def with_claimed_size(size: int) -> bytes:
    """A zstd frame whose header claims `size` bytes; what follows holds far fewer."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("bomb", "packing"),
    [
        (gzip.compress(bytes(64 * 1024 * 1024)), Compression.GZIP),
        (zstandard.compress(bytes(64 * 1024 * 1024)), Compression.ZSTD),
        (zstd_of_unknown_size(bytes(64 * 1024 * 1024)), Compression.ZSTD),
        (with_claimed_size(1 << 62), Compression.ZSTD),
        # A window of 2 GiB, which a decoder that obeyed would allocate before the first byte of output.
        (b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", Compression.ZSTD),
    ],
    ids=["gzip", "zstd", "zstd of unknown size", "a false size", "a huge window"],
)
def test_a_bomb_makes_no_more_memory_than_the_limit_be_held(bomb: bytes, packing: Compression) -> None:
    tracemalloc.start()
    with pytest.raises(BadRequest):
        unpack(bomb, packing)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(bomb) + 3 * LIMIT  # zlib's output grows by doubling, and it keeps the rest of its input


def test_gzip_means_the_gzip_container() -> None:
    with pytest.raises(BadRequest, match="damaged"):
        unpack(zlib.compress(b"data"), Compression.GZIP)
