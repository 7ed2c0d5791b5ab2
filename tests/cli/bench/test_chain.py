"""What the bench reads is checked by a chain: whatever is not as it was written is found and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.cli.bench.chain import LINK_BYTES, OVERHEAD_BYTES, ChainReader, ChainWriter

ORIGIN = bytes(LINK_BYTES)


def read(bodies: list[bytes], writer: ChainWriter, first: int = 0) -> ChainReader:
    reader = ChainReader(writer.origin)
    for seq_num, body in enumerate(bodies, start=first):
        reader.read(seq_num, body)
    reader.finish(writer.count, writer.link)
    return reader


def written(count: int, body_bytes: int) -> tuple[ChainWriter, list[bytes]]:
    writer = ChainWriter(body_bytes)
    return writer, [writer.next_body(now) for now in range(count)]


@given(st.integers(0, 9), st.integers(OVERHEAD_BYTES, 200))
def test_what_is_as_it_was_written_has_no_fault(count: int, body_bytes: int) -> None:
    writer, bodies = written(count, body_bytes)
    assert {len(body) for body in bodies} <= {body_bytes}
    reader = read(bodies, writer)
    assert (reader.fault, reader.count) == (None, count)


@given(st.data())
def test_any_lost_repeated_moved_or_changed_record_is_found(data: st.DataObject) -> None:
    writer, bodies = written(data.draw(st.integers(1, 8)), data.draw(st.integers(OVERHEAD_BYTES, 80)))
    place = data.draw(st.integers(0, len(bodies) - 1))
    what = data.draw(st.sampled_from(["lost", "repeated", "moved", "changed", "cut", "foreign"]))
    harmed = list(bodies)
    match what:
        case "lost":
            del harmed[place]
        case "repeated":
            harmed.insert(data.draw(st.integers(place + 1, len(bodies))), bodies[place])
        case "moved":
            harmed.insert(data.draw(st.integers(0, len(bodies) - 1)), harmed.pop(place))
        case "changed":
            bit = data.draw(st.integers(0, 8 * len(bodies[place]) - 1))
            changed = bytearray(bodies[place])
            changed[bit // 8] ^= 1 << (bit % 8)
            harmed[place] = bytes(changed)
        case "cut":
            harmed[place] = bodies[place][: data.draw(st.integers(0, len(bodies[place]) - 1))]
        case "foreign":
            harmed[place] = written(place + 1, len(bodies[0]))[1][place]
    reader = read(harmed, writer)
    assert (reader.fault is None) == (harmed == bodies)
    as_they_were = next((n for n, (a, b) in enumerate(zip(harmed, bodies, strict=False)) if a != b), None)
    assert reader.count == (min(len(harmed), len(bodies)) if as_they_were is None else as_they_were)


def faults(harm: str) -> str:
    writer, bodies = written(6, 64)
    match harm:
        case "lost":
            del bodies[2:4]
        case "one lost":
            del bodies[2]
        case "repeated":
            bodies.insert(3, bodies[1])
        case "changed":
            bodies[2] = bodies[2][:-1] + bytes([bodies[2][-1] ^ 1])
        case "short":
            bodies[2] = b"hello"
        case "end":
            del bodies[5]
        case "other":
            writer.link = ORIGIN
    return str(read(bodies, writer).fault)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("lost", "at sequence number 2: record 4, where 2 was expected: 2 to 3 missing"),
        ("one lost", "at sequence number 2: record 3, where 2 was expected: 2 missing"),
        ("repeated", "at sequence number 3: record 1 once more, where 3 was expected"),
        ("changed", "at sequence number 2: record 2 is not as it was written"),
        ("short", "at sequence number 2: a record of 5 bytes, which the bench has not written"),
        ("end", "at sequence number 5: the records end, where 6 were written and acknowledged"),
        ("other", "at sequence number 6: the records follow from each other, but are not those that were written"),
    ],
)
def test_a_fault_is_named(harm: str, said: str) -> None:
    assert faults(harm) == said


def test_a_record_with_another_number_is_named() -> None:
    writer, bodies = written(2, 64)
    assert str(read(bodies, writer, first=3).fault) == (
        "at sequence number 3: the record that was given the sequence number 0"
    )


def test_records_tell_when_they_were_made_also_behind_a_fault() -> None:
    writer, bodies = written(3, 64)
    reader = ChainReader(writer.origin)
    assert [reader.read(1, bodies[1]), reader.read(2, bodies[2])] == [1, 2]
    assert reader.fault is not None
    assert reader.fault.seq_num == 1
