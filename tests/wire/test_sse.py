"""Server-sent events from bytes in any slices, as the WHATWG describes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import ProtocolViolation
from perdure.wire.sse import KEEP_ALIVE, SseEvent, SseParser


def parse(data: bytes, cuts: list[int] | None = None) -> tuple[list[SseEvent], SseParser]:
    """All events of `data`, fed in slices of the given lengths, again and again."""
    parser, events = SseParser(), []
    position, turn = 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)] if cuts else len(data)
        events += parser.feed(data[position : position + size])
        position += size
        turn += 1
    return events, parser


def reference(data: bytes) -> tuple[list[SseEvent], str | None]:
    """The rules written down once more, slowly, on the whole input at once."""
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events, data_lines, event, frame_id, last_id = [], list[str](), "", None, None
    for line in lines:
        if not line:
            last_id = last_id if frame_id is None else frame_id
            if data_lines:
                events.append(SseEvent("\n".join(data_lines), event, frame_id))
            data_lines, event, frame_id = [], "", None
            continue
        field, _, rest = line.partition(b":")
        value = rest.removeprefix(b" ").decode(errors="replace")
        if field == b"data":
            data_lines.append(value)
        elif field == b"event":
            event = value
        elif field == b"id" and "\0" not in value:
            frame_id = value
    return events, last_id


soup = st.lists(
    st.sampled_from(
        [
            *(b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"data: a\n"),
            *(b"id: 7\n", b"\0", b"\xff", b"\xef\xbb\xbf", "ü\u2028".encode(), b"\x85", b"\x0b", b"\x0c", b"\x1e"),
        ]
    ),
    max_size=40,
).map(b"".join)
slices = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@given(data=soup, cuts=slices)
def test_any_input_in_any_slices_follows_the_rules(data: bytes, cuts: list[int]) -> None:
    events, parser = parse(data, cuts)
    assert (events, parser.last_id) == reference(data)


text = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=20)


@given(
    events=st.lists(
        st.builds(SseEvent, st.lists(text, min_size=1, max_size=4).map("\n".join), text, st.none() | text), max_size=6
    ),
    end=st.sampled_from(["\n", "\r", "\r\n"]),
    cuts=slices,
)
def test_events_survive_any_slicing_of_the_wire(events: list[SseEvent], end: str, cuts: list[int]) -> None:
    wire = ""
    for event in events:
        lines = [f"data: {line}" for line in event.data.split("\n")]
        lines += [f"event: {event.event}"] if event.event else []
        lines += [f"id: {event.id}"] if event.id is not None else []
        wire += end.join([*lines, "", ""])
    found, _ = parse(wire.encode() + b"\n", cuts)
    assert found == events


class TestLines:
    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
    def test_they_end_in_three_ways(self, end: bytes) -> None:
        wire = end.join([b"event: a", b"data: 1", b"data: 2", b"", b""])
        for cuts in ([1], [2], [3], [len(wire)]):
            assert parse(wire, cuts)[0] == [SseEvent("1\n2", "a")]

    def test_an_event_does_not_wait_for_the_lf_of_its_last_crlf(self) -> None:
        parser = SseParser()
        assert parser.feed(b"data: 1\r\n\r") == [SseEvent("1")]
        assert parser.feed(b"\ndata: 2\r\r") == [SseEvent("2")]
        assert parser.feed(b"\n") == []
        assert parser.feed(b"data: 3\n\n") == [SseEvent("3")]

    @pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
    def test_nothing_else_ends_a_line(self, mark: str) -> None:
        """`str.splitlines` would break model output apart here."""
        wire = f'data: {{"text": "a{mark}b"}}\n\n'.encode()
        for size in range(1, 9):
            assert parse(wire, [size])[0] == [SseEvent(f'{{"text": "a{mark}b"}}')]

    def test_a_byte_order_mark_at_the_beginning_is_skipped(self) -> None:
        for size in (1, 2, 3, 9):
            assert parse(b"\xef\xbb\xbfdata: x\n\n", [size])[0] == [SseEvent("x")]
        assert parse(b"\n\xef\xbb\xbfdata: x\n\n")[0] == []
        assert parse(b"\xef\xbbdata: x\n\n")[0] == []

    def test_characters_may_be_cut(self) -> None:
        assert parse("data: 😀ü\n\n".encode(), [1])[0] == [SseEvent("😀ü")]

    def test_bytes_that_are_not_utf_8_are_replaced(self) -> None:
        assert parse(b"data: a\xffb\n\n")[0] == [SseEvent("a\ufffdb")]


class TestFields:
    def test_one_space_after_the_colon_is_dropped(self) -> None:
        assert parse(b"data:x\ndata: y\ndata:  z\n\n")[0] == [SseEvent("x\ny\n z")]

    def test_a_field_may_be_empty_or_without_a_colon(self) -> None:
        assert parse(b"data\n\n")[0] == [SseEvent("")]
        assert parse(b"data:\ndata\n\n")[0] == [SseEvent("\n")]

    def test_comments_and_unknown_fields_are_skipped(self) -> None:
        assert parse(KEEP_ALIVE + b": x\nfoo: bar\nDATA: no\n data: no\ndata: yes\n\n")[0] == [SseEvent("yes")]

    def test_an_event_without_data_is_none(self) -> None:
        assert parse(b"event: a\n\ndata: x\n\n")[0] == [SseEvent("x")]

    def test_the_last_event_name_counts(self) -> None:
        assert parse(b"event: a\nevent: b\ndata: x\n\n")[0] == [SseEvent("x", "b")]

    def test_the_time_to_reconnect(self) -> None:
        _, parser = parse(b"retry: 1500\nretry: soon\nretry: -5\nretry:\n")
        assert parser.retry_ms == 1500

    def test_a_time_to_reconnect_in_other_digits_is_ignored(self) -> None:
        _, parser = parse("retry: ٣\n".encode())
        assert parser.retry_ms is None


class TestIds:
    def test_a_complete_frame_gives_its_id(self) -> None:
        events, parser = parse(b"id: 1\ndata: x\n\ndata: y\n\nid: 3\n\n")
        assert events == [SseEvent("x", "", "1"), SseEvent("y")]
        assert parser.last_id == "3"

    def test_a_frame_that_is_cut_off_does_not(self) -> None:
        _, parser = parse(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")
        assert parser.last_id == "1"

    def test_an_empty_one_counts(self) -> None:
        events, parser = parse(b"id: 1\ndata: x\n\nid\ndata: y\n\n")
        assert events[1] == SseEvent("y", "", "")
        assert parser.last_id == ""

    def test_one_with_a_nul_is_ignored(self) -> None:
        events, parser = parse(b"id: 1\nid: 2\0\ndata: x\n\n")
        assert events == [SseEvent("x", "", "1")]
        assert parser.last_id == "1"


class TestBound:
    def feed(self, data: bytes, size: int) -> list[SseEvent]:
        parser, events = SseParser(max_event_bytes=100), []
        for begin in range(0, len(data), size):
            events += parser.feed(data[begin : begin + size])
        return events

    @pytest.mark.parametrize("size", [1, 7, 1000])
    def test_an_event_within_it_passes(self, size: int) -> None:
        assert self.feed(b"data: " + b"x" * 94 + b"\n\n", size) == [SseEvent("x" * 94)]
        assert len(self.feed((b"data: " + b"x" * 80 + b"\n\n") * 50, size)) == 50

    @pytest.mark.parametrize("size", [1, 7, 1000])
    @pytest.mark.parametrize(
        "wire",
        [b"data: " + b"x" * 95 + b"\n\n", b"data: " + b"x" * 200, b"data: xx\n" * 13 + b"\n", b"data\n" * 26 + b"\n"],
    )
    def test_one_beyond_it_is_refused(self, wire: bytes, size: int) -> None:
        with pytest.raises(ProtocolViolation, match="exceeds the limit of 100 bytes"):
            self.feed(wire, size)

    def test_an_endless_line_without_a_field_is_refused(self) -> None:
        for wire in (b": " + b"x" * 200, b"x" * 200):
            with pytest.raises(ProtocolViolation):
                self.feed(wire, 10)

    def test_events_before_it_are_given_first(self) -> None:
        parser = SseParser(max_event_bytes=100)
        assert parser.feed(b"id: 1\ndata: x\n\n" + b"y" * 101) == [SseEvent("x", "", "1")]
        for _ in range(2):
            with pytest.raises(ProtocolViolation):
                parser.feed(b"\n\ndata: z\n\n")

    @given(data=soup, cuts=slices)
    def test_it_does_not_depend_on_the_slicing(self, data: bytes, cuts: list[int]) -> None:
        outcomes = []
        for sizes in ([1], cuts, [len(data) or 1]):
            parser, events, position = SseParser(max_event_bytes=12), list[SseEvent](), 0
            try:
                for turn in range(len(data) + 1):
                    events += parser.feed(data[position : position + sizes[turn % len(sizes)]])
                    position += sizes[turn % len(sizes)]
            except ProtocolViolation:
                outcomes.append((events, "refused"))
            else:
                outcomes.append((events, "read"))
        assert outcomes[0] == outcomes[1] == outcomes[2]

    def test_comments_for_ever_are_fine(self) -> None:
        assert self.feed(KEEP_ALIVE * 100, 13) == []
