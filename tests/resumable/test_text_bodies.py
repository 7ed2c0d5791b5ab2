"""Text into records and out of them: wherever it is cut, and wherever a reader goes on."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perdure import Invalid
from perdure.resumable.json_body import SourceError
from perdure.resumable.text_bodies import MAX_TEXT_BYTES, SkippingDecoder, TextItems, TextUnit

# Characters of each width in UTF-8 and in UTF-16, and halves that nothing completes.
CHARACTERS = st.sampled_from("a\né\u2028€😀\U0010ffff")
TEXT = st.text(CHARACTERS, max_size=20)
ODD_TEXT = st.text(CHARACTERS | st.sampled_from("\ud83d\ude00"), max_size=20)
CUTS = st.lists(st.integers(0, 60), max_size=8)


def units(text: str) -> bytes:
    """A JavaScript string: two bytes for each unit of its length."""
    return text.encode("utf-16-le", "surrogatepass")


def of_units(data: bytes) -> str:
    return data.decode("utf-16-le", "surrogatepass")


def cut(data: bytes, cuts: list[int], width: int = 1) -> list[bytes]:
    edges = [0, *sorted(edge * width for edge in cuts if edge * width <= len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def stored(items: list[str]) -> list[bytes]:
    reader = TextItems()
    bodies = [chunk.body for item in items for chunk in reader.chunks(item)]
    return bodies + [chunk.body for chunk in reader.finish()]


def shown(bodies: list[bytes], skip: int | None = None, unit: TextUnit = "utf16") -> str:
    decoder = SkippingDecoder(skip, unit)
    return "".join([*map(decoder.feed, bodies), decoder.finish()])


@given(TEXT, CUTS)
def test_each_chunk_is_one_record(text: str, cuts: list[int]) -> None:
    items = [piece.decode("utf-32-le") for piece in cut(text.encode("utf-32-le"), cuts, 4)]
    assert stored(items) == [item.encode() for item in items]


@given(ODD_TEXT, CUTS)
@example("😀", [1])
def test_text_cut_within_characters_is_stored_as_if_it_had_not_been(text: str, cuts: list[int]) -> None:
    items = [of_units(piece) for piece in cut(units(text), cuts, 2)]
    assert b"".join(stored(items)).decode() == units(text).decode("utf-16-le", "replace")


@given(TEXT, CUTS, st.integers(0, 50))
@example("1\n2\n", [2], 2)
@example("1\n2\n", [2], 4)
@example("😀ab", [], 2)
@example("😀ab", [1, 2, 3], 1)
def test_a_reader_goes_on_behind_what_it_has(text: str, cuts: list[int], skip: int) -> None:
    """Records may be cut anywhere, by writers who know nothing of characters."""
    bodies = cut(text.encode(), cuts)
    left = units(text)[2 * skip :]
    in_the_middle = left[:2] and "\udc00" <= of_units(left[:2]) <= "\udfff"
    expected = of_units(units(text)[2 * (skip - 1) :] if in_the_middle else left)
    assert shown(bodies, skip) == expected
    assert shown(bodies, skip, "codepoint") == text[skip:]
    assert shown(bodies) == text


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_a_chunk_that_no_record_can_hold_becomes_several(character: str) -> None:
    text = character * (2 * MAX_TEXT_BYTES // len(character.encode()) + 7)
    bodies = stored([text])
    assert len(bodies) == 3
    assert max(map(len, bodies)) <= MAX_TEXT_BYTES
    assert [body.decode() for body in bodies]  # each is whole
    assert b"".join(bodies).decode() == text


@pytest.mark.parametrize("item", [b"bytes", 1, None, {"type": "text"}, ["a"]])
def test_what_is_no_text_is_refused(item: object) -> None:
    with pytest.raises(SourceError, match=rf"yields str, got builtins\.{type(item).__name__}"):
        TextItems().chunks(item)


@pytest.mark.parametrize(
    ("skip", "unit"), [(-1, "utf16"), (1.5, "utf16"), ("1", "utf16"), (True, "utf16"), (1, "byte")]
)
def test_a_skip_that_makes_no_sense_is_refused(skip: object, unit: object) -> None:
    with pytest.raises(Invalid, match=r"skip_characters|unit"):
        SkippingDecoder(skip, unit)  # type: ignore[arg-type]  # what callers without types pass
