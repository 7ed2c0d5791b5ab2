"""The certificate that a server makes for itself: which one it finds is used again, and what becomes of the key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from perdure.server.self_signed import RENEWED_DAYS, VALID_DAYS, kept_certificate, self_signed
from perdure.store.sqlite.directory import MEMORY

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = ("localhost", "127.0.0.1", "*.b.localhost")


def kept(directory: Path, *names: str, days: float = 0) -> tuple[bytes, bytes]:
    files = kept_certificate(directory, names or NAMES, NOW + dt.timedelta(days=days))
    return files.certificate.read_bytes(), files.key.read_bytes()


def test_it_is_used_until_it_is_about_to_expire(tmp_path: Path) -> None:
    first = kept(tmp_path / "tls")
    assert kept(tmp_path / "tls", days=VALID_DAYS - RENEWED_DAYS - 1) == first
    assert kept(tmp_path / "tls", days=VALID_DAYS - RENEWED_DAYS + 1) != first


def test_it_is_used_for_the_names_that_it_has(tmp_path: Path) -> None:
    first = kept(tmp_path / "tls")
    assert kept(tmp_path / "tls", "localhost") == first
    other = kept(tmp_path / "tls", *NAMES, "10.0.0.1")
    assert other != first
    assert kept(tmp_path / "tls", *NAMES, "10.0.0.1") == other


@pytest.mark.parametrize("name", ["certificate.pem", "key.pem"])
@pytest.mark.parametrize("damage", ["", "no PEM", "another", None])
def test_half_a_pair_is_replaced_by_a_whole_one(tmp_path: Path, name: str, damage: str | None) -> None:
    """A server may have been killed between the two files."""
    first = kept(tmp_path / "tls")
    file = tmp_path / "tls" / name
    if damage is None:
        file.unlink()
    elif damage == "another":
        kept(tmp_path / "other")
        file.write_bytes((tmp_path / "other" / name).read_bytes())
    else:
        file.write_text(damage)
    second = kept(tmp_path / "tls")
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert kept(tmp_path / "tls") == second


def test_private_stores_have_certificates_of_their_own_and_leave_none() -> None:
    with self_signed(MEMORY, "localhost", None) as one, self_signed(MEMORY, "localhost", None) as two:
        assert one.key != two.key
        assert one.key.exists()
    assert not one.key.parent.parent.exists()
    assert not two.key.parent.parent.exists()
