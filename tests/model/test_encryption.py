"""The key that a client gives, as text and as bytes (store API, section 7)."""

import base64
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import BadRequest, Invalid
from perdure.model.configs import Cipher
from perdure.model.encryption import EncryptionKey

RAW = bytes(range(32))
TEXT = base64.b64encode(RAW).decode()
TOO_LONG = "A" * 45


def parse_problem(text: str) -> tuple[str, str]:
    with pytest.raises(BadRequest) as caught:
        EncryptionKey.parse(text)
    return caught.value.message, caught.value.code


@pytest.mark.parametrize(("text", "length"), [("", 0), ("   ", 0), (TOO_LONG, 45), (f"  {TOO_LONG * 2} ", 90)])
def test_a_header_of_a_wrong_size_is_refused_whatever_the_stream_is(text: str, length: int) -> None:
    message = (
        f"Invalid header `s2-encryption-key`: invalid encryption key: key material length {length} is out of range"
    )
    assert parse_problem(text) == (message, "bad_header")


@pytest.mark.parametrize("text", ["x", "not a key at all!", "A" * 44, TEXT, f"\t {TEXT} "])
def test_any_other_header_is_taken_until_a_cipher_needs_it(text: str) -> None:
    assert EncryptionKey.parse(text).header_value == text.strip()


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "not a key at all!",
        TEXT[:-1],  # no padding
        TEXT[:-2] + "9=",  # a stray bit after the last byte
        TEXT.replace("A", "-", 1),  # the alphabet of URLs
        TEXT[:20] + "\n" + TEXT[21:],
        "Ä" * 44,
    ],
)
def test_what_is_not_base64_is_no_key(text: str, cipher: Cipher) -> None:
    with pytest.raises(BadRequest) as caught:
        EncryptionKey.parse(text).secret(cipher)
    assert caught.value.message == f"invalid encryption key for stream cipher '{cipher.value}': invalid base64"
    assert caught.value.code == "bad_header"


@pytest.mark.parametrize("size", [1, 16, 31, 33])
def test_base64_of_another_length_is_no_key(size: int) -> None:
    with pytest.raises(BadRequest) as caught:
        EncryptionKey.parse(base64.b64encode(bytes(size)).decode()).secret(Cipher.AEGIS_256)
    assert caught.value.message == f"invalid encryption key length for stream cipher 'aegis-256': {size}"
    assert caught.value.code == "bad_header"


@given(raw=st.binary(min_size=32, max_size=32), space=st.sampled_from(["", " ", "\t", "\r\n"]))
def test_bytes_and_text_are_one_key(raw: bytes, space: str) -> None:
    text = base64.b64encode(raw).decode()
    keys = [EncryptionKey.of(raw), EncryptionKey.of(space + text), EncryptionKey.parse(text + space)]
    keys.append(EncryptionKey.of(keys[0]))
    assert set(keys) == {keys[0]}
    assert {key.secret(cipher) for key in keys for cipher in Cipher} == {raw}
    assert {key.header_value for key in keys} == {text}
    assert EncryptionKey.of(bytes(32)) != EncryptionKey.of(b"\1" * 32) != "a key"


@pytest.mark.parametrize(
    "key", [b"", RAW[:31], RAW + b"x", TEXT.encode(), "", "x", TEXT[:-1], TOO_LONG, None, 7, [RAW]]
)
def test_callers_are_told_at_once_what_is_no_key(key: object) -> None:
    with pytest.raises(Invalid, match="encryption key"):
        EncryptionKey.of(key)  # type: ignore[arg-type]  # some callers have no type checker


def test_a_key_shows_nowhere() -> None:
    key = EncryptionKey.of(RAW)
    for shown in (repr(key), str(key), f"{key}", "%s" % key):  # noqa: UP031  # every way to show it
        assert shown == "<EncryptionKey>"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(key)
    for text in (TEXT[:-1], TEXT[:40]):
        with pytest.raises(Invalid) as refused:
            EncryptionKey.of(text)
        with pytest.raises(BadRequest) as rejected:
            EncryptionKey.parse(text).secret(Cipher.AEGIS_256)
        assert text[:8] not in str(refused.value) + str(rejected.value)


def test_settings_that_hold_a_key_can_be_copied() -> None:
    key = EncryptionKey.of(RAW)
    assert copy.deepcopy({"key": key}) == {"key": copy.copy(key)} == {"key": key}
