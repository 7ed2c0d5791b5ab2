"""Sealed batches: what may be seen of them, and what opens them again (store API, sections 1.7 and 7)."""

import json
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.errors import BadRequest, DecryptionFailed, Invalid, StorageFailed
from perdure.model.batches import AppendInput, ReadBatch
from perdure.model.configs import Cipher, ResolvedStreamConfig
from perdure.model.encryption import EncryptionKey
from perdure.model.limits import MAX_BATCH_BYTES
from perdure.model.reads import ReadLimits
from perdure.model.records import AppendRecord, SequencedRecord
from perdure.store.catalogue import StreamEntry
from perdure.store.ciphers import AEADS, Aegis256, Aes256Gcm
from perdure.store.reading import Budget, deliver
from perdure.store.sealing import FORMATS, Seal
from perdure.store.sequencing import MAX_AES_GCM_SEQ_NUM, MAX_BLOCK_BYTES, Block, StreamState, sequence
from perdure.wire.protobuf import decode_records, encode_records
from tests.model.strategies import append_records

CONFIG = ResolvedStreamConfig()
NOW_MS = 1_700_000_000_000
WRITTEN = StreamState(7)
CREATED = datetime(2025, 5, 1, 10, 0, 0, 123456, tzinfo=UTC)
KEY = EncryptionKey.of(b"k" * 32)
OTHER_KEY = EncryptionKey.of(b"o" * 32)
CIPHERS = pytest.mark.parametrize("cipher", Cipher)

ciphers = st.sampled_from(Cipher)
batches = st.lists(append_records(), min_size=1, max_size=12).map(AppendInput.of)
states = st.builds(StreamState, tail=st.integers(0, 2**31), last_timestamp=st.integers(0, 2 * NOW_MS))


def entry(cipher: Cipher, *, basin: str = "the-basin", name: str = "s", created: datetime = CREATED) -> StreamEntry:
    return StreamEntry(basin, name, created, CONFIG, cipher)


def seal_of(cipher: Cipher, key: EncryptionKey = KEY, stream: StreamEntry | None = None) -> Seal:
    seal = Seal.of(stream or entry(cipher), key)
    assert seal is not None
    return seal


def stored(batch: AppendInput, cipher: Cipher | None, state: StreamState = WRITTEN) -> Block:
    return sequence(state, CONFIG, cipher, batch, now_ms=NOW_MS)[1]


def of(*records: AppendRecord | str) -> AppendInput:
    return AppendInput.of([AppendRecord(record) if isinstance(record, str) else record for record in records])


def damaged(block: Block, at: int, change: int) -> Block:
    body = bytearray(block.body)
    body[at] ^= change
    return replace(block, body=bytes(body))


class TestCiphers:
    # The numbers of the IETF draft "The AEGIS Family of Authenticated Encryption Algorithms", AEGIS-256, long tags.
    AEGIS_KEY: Final = bytes.fromhex("1001" + "00" * 30)
    AEGIS_NONCE: Final = bytes.fromhex("100002" + "00" * 29)

    @pytest.mark.parametrize(
        ("associated", "plain", "sealed", "tag"),
        [
            (
                "",
                "00" * 16,
                "754fc3d8c973246dcc6d741412a4b236",
                "1181a1d18091082bf0266f66297d167d2e68b845f61a3b0527d31fc7b7b89f13",
            ),
            ("", "", "", "6a348c930adbd654896e1666aad67de989ea75ebaa2b82fb588977b1ffec864a"),
            (
                "0001020304050607",
                bytes(range(32)).hex(),
                "f373079ed84b2709faee373584585d60accd191db310ef5d8b11833df9dec711",
                "b7d28d0c3c0ebd409fd22b44160503073a547412da0854bfb9723020dab8da1a",
            ),
            (
                "0001020304050607",
                bytes(range(14)).hex(),
                "f373079ed84b2709faee37358458",
                "8c1cc703c81281bee3f6d9966e14948b4a175b2efbdc31e61a98b4465235c2d9",
            ),
            (
                bytes(range(42)).hex(),
                bytes(range(0x10, 0x38)).hex(),
                "57754a7d09963e7c787583a2e7b859bb24fa1e04d49fd550b2511a358e3bca252a9b1b8b30cc4a67",
                "a3aca270c006094d71c20e6910b5161c0826df233d08919a566ec2c05990f734",
            ),
        ],
    )
    def test_aegis_256_is_that_of_the_draft(self, associated: str, plain: str, sealed: str, tag: str) -> None:
        aead = Aegis256(self.AEGIS_KEY)
        bound, expected = bytes.fromhex(associated), bytes.fromhex(sealed + tag)
        assert aead.seal(self.AEGIS_NONCE, bytes.fromhex(plain), bound) == expected
        assert aead.open(self.AEGIS_NONCE, expected, bound) == bytes.fromhex(plain)

    @pytest.mark.parametrize(
        ("key", "nonce", "associated", "sealed"),
        [
            ("100002" + "00" * 29, "1001" + "00" * 30, "0001020304050607", "f373079ed84b2709faee37358458"),
            ("1001" + "00" * 30, "100002" + "00" * 29, "0001020304050607", "f373079ed84b2709faee37358459"),
            ("1001" + "00" * 30, "100002" + "00" * 29, "0001020304050608", "f373079ed84b2709faee37358458"),
        ],
    )
    def test_aegis_256_refuses_what_the_draft_says(self, key: str, nonce: str, associated: str, sealed: str) -> None:
        tag = "8c1cc703c81281bee3f6d9966e14948b4a175b2efbdc31e61a98b4465235c2d9"
        with pytest.raises(DecryptionFailed):
            Aegis256(bytes.fromhex(key)).open(
                bytes.fromhex(nonce), bytes.fromhex(sealed + tag), bytes.fromhex(associated)
            )

    @pytest.mark.parametrize(
        ("key", "nonce", "associated", "plain", "sealed"),
        [  # Test cases 13, 14 and 16 of the specification of GCM.
            ("00" * 32, "00" * 12, "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
            (
                "00" * 32,
                "00" * 12,
                "",
                "00" * 16,
                "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
            ),
            (
                "feffe9928665731c6d6a8f9467308308" * 2,
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ],
    )
    def test_aes_256_gcm_is_that_of_its_specification(
        self, key: str, nonce: str, associated: str, plain: str, sealed: str
    ) -> None:
        aead = Aes256Gcm(bytes.fromhex(key))
        parts = [bytes.fromhex(part) for part in (nonce, plain, associated)]
        assert aead.seal(*parts) == bytes.fromhex(sealed)
        assert aead.open(parts[0], bytes.fromhex(sealed), parts[2]) == parts[1]

    @CIPHERS
    def test_a_tag_is_as_long_as_it_says(self, cipher: Cipher) -> None:
        aead = AEADS[cipher](b"k" * 32)
        assert len(aead.seal(b"n" * aead.nonce_bytes, b"plain", b"")) == len(b"plain") + aead.tag_bytes

    def test_nothing_is_imported_before_a_stream_needs_it(self) -> None:
        code = """
import asyncio, json, sys
import perdure
from perdure import S2, AppendRecord, Cipher, errors

async def main():
    async with S2.open(":memory:") as s2:
        plain = await s2.basins.create("plain-basin", create_stream_on_append=True)
        await plain.stream("s").append([AppendRecord("x")])
        imported = [name for name in ("nacl", "cryptography") if name in sys.modules]
        sys.modules["nacl"] = sys.modules["cryptography"] = None  # as if they were not installed
        refusals = []
        for cipher in Cipher:
            basin = await s2.basins.create(f"basin-{cipher.value}", stream_cipher=cipher, create_stream_on_append=True)
            try:
                await basin.stream("s", encryption_key=bytes(32)).append([AppendRecord("x")])
            except errors.UsageError as exc:
                refusals.append(str(exc))
        print(json.dumps([imported, refusals]))

asyncio.run(main())
"""
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        imported, refusals = json.loads(done.stdout)
        assert imported == []
        assert len(refusals) == 2
        for refusal, cipher in zip(refusals, Cipher, strict=True):
            assert f"'{cipher.value}'" in refusal
            assert "perdure[encryption]" in refusal


class TestRoundTrip:
    @given(batch=batches, cipher=ciphers, state=states)
    def test_an_opened_block_is_the_one_that_plain_records_make(
        self, batch: AppendInput, cipher: Cipher, state: StreamState
    ) -> None:
        seal = seal_of(cipher)
        plain = sequence(state, CONFIG, None, batch, now_ms=NOW_MS)
        sealed = sequence(state, CONFIG, cipher, seal.seal(batch), now_ms=NOW_MS)
        assert (sealed[0], sealed[2]) == (plain[0], plain[2])
        assert replace(sealed[1], body=b"") == replace(plain[1], body=b"")
        opened = seal.open(sealed[1])
        assert opened == plain[1]

    @CIPHERS
    @pytest.mark.parametrize(
        "records",
        [
            [AppendRecord(b"x" * (MAX_BATCH_BYTES - 8))],
            [AppendRecord(bytes([n % 256]) * 1000, timestamp=n) for n in range(1000)],
            [AppendRecord(headers=[(b"n", b"")] * ((MAX_BATCH_BYTES - 8) // 3))],
            [AppendRecord(headers=[(b"n", b"")] * 300) for _ in range(1000)],
            [AppendRecord() for _ in range(1000)],
        ],
        ids=["one large record", "many", "all headers", "many headers", "all empty"],
    )
    def test_the_largest_batches_fit(self, cipher: Cipher, records: list[AppendRecord]) -> None:
        batch = AppendInput.of(records)
        seal = seal_of(cipher)
        state = StreamState(MAX_AES_GCM_SEQ_NUM - 1000, 2**62)
        block = stored(seal.seal(batch), cipher, state)
        assert len(block.body) <= MAX_BLOCK_BYTES
        assert seal.open(block) == stored(batch, None, state)

    @CIPHERS
    def test_commands_stay_as_they_are(self, cipher: Cipher) -> None:
        fence, trim = AppendRecord.fence("me", timestamp=3), AppendRecord.trim(4)
        seal = seal_of(cipher)
        mixed = seal.seal(of("a", fence, "b", trim, "c"))
        assert (mixed.records[1], mixed.records[3]) == (fence, trim)
        alone = of(fence, trim)
        assert seal.seal(alone) is alone
        assert seal_of(cipher, OTHER_KEY).open(stored(alone, cipher)) == stored(alone, None)

    @given(batch=batches, cipher=ciphers)
    def test_a_sealed_batch_meters_and_is_conditional_as_the_plain_one(
        self, batch: AppendInput, cipher: Cipher
    ) -> None:
        batch = replace(batch, match_seq_num=7, fencing_token="me")
        sealed = seal_of(cipher).seal(batch)
        assert replace(sealed, records=()) == replace(batch, records=())
        assert [record.timestamp for record in sealed.records] == [record.timestamp for record in batch.records]
        assert [record.command for record in sealed.records] == [record.command for record in batch.records]

    def test_only_ordinary_records_are_bound_by_the_nonce_of_aes(self) -> None:
        seal = seal_of(Cipher.AES_256_GCM)
        last = StreamState(MAX_AES_GCM_SEQ_NUM)
        assert seal.open(stored(seal.seal(of("x")), Cipher.AES_256_GCM, last)) == stored(of("x"), None, last)
        stored(seal.seal(of("x", AppendRecord.fence(""))), Cipher.AES_256_GCM, last)
        with pytest.raises(Invalid, match="max assignable sequence number is 4294967295; attempted 4294967296"):
            stored(seal.seal(of("x", "y")), Cipher.AES_256_GCM, last)
        seal = seal_of(Cipher.AEGIS_256)
        stored(seal.seal(of("x", "y")), Cipher.AEGIS_256, last)


class TestSecrecy:
    @CIPHERS
    def test_nothing_of_an_ordinary_record_can_be_read(self, cipher: Cipher) -> None:
        batch = of(
            AppendRecord("the body", headers={"the name": "the value"}), AppendRecord.fence("token"), "another body"
        )
        body = stored(seal_of(cipher).seal(batch), cipher).body
        for secret in (b"the body", b"the name", b"the value", b"another body"):
            assert secret in stored(batch, None).body
            assert secret not in body
        assert b"token" in body

    @CIPHERS
    def test_the_same_batch_is_never_sealed_twice_alike(self, cipher: Cipher) -> None:
        seal, batch = seal_of(cipher), of("the same")
        aead = AEADS[cipher](b"k" * 32)
        carriers = [seal.seal(batch).records[0] for _ in range(100)]
        heads = {carrier.headers[0][1] for carrier in carriers}
        assert {head[0] for head in heads} == {FORMATS[cipher]}
        assert len({head[1 : 1 + aead.nonce_bytes] for head in heads}) == len({c.body for c in carriers}) == 100

    @CIPHERS
    def test_another_key_opens_nothing(self, cipher: Cipher) -> None:
        block = stored(seal_of(cipher).seal(of("x", AppendRecord.fence("me"))), cipher)
        with pytest.raises(DecryptionFailed) as caught:
            seal_of(cipher, OTHER_KEY).open(block)
        assert (caught.value.message, caught.value.code) == ("record decryption failed", "decryption_failed")

    @CIPHERS
    @pytest.mark.parametrize(
        "change",
        [{"basin": "the-other"}, {"name": "t"}, {"created": CREATED + timedelta(microseconds=1)}],
        ids=["basin", "name", "incarnation"],
    )
    def test_what_was_moved_to_another_stream_does_not_open(self, cipher: Cipher, change: dict[str, object]) -> None:
        block = stored(seal_of(cipher).seal(of("x")), cipher)
        elsewhere = entry(cipher, **change)  # type: ignore[arg-type]  # each is of its argument's type
        with pytest.raises(DecryptionFailed):
            seal_of(cipher, stream=elsewhere).open(block)

    @CIPHERS
    def test_the_time_of_creation_may_come_back_in_another_zone(self, cipher: Cipher) -> None:
        block = stored(seal_of(cipher).seal(of("x")), cipher)
        elsewhere = entry(cipher, created=CREATED.astimezone(datetime.strptime("+0530", "%z").tzinfo))
        assert seal_of(cipher, stream=elsewhere).open(block) == stored(of("x"), None)

    @given(batch=batches, cipher=ciphers, data=st.data())
    def test_sealed_bytes_that_were_changed_do_not_open(
        self, batch: AppendInput, cipher: Cipher, data: st.DataObject
    ) -> None:
        seal = seal_of(cipher)
        sealed = seal.seal(batch)
        assume(sealed is not batch)
        block = stored(sealed, cipher)
        carrier = next(record for record in sealed.records if record.command is None)
        secret = data.draw(st.sampled_from([carrier.headers[0][1], carrier.body]))
        at = block.body.index(secret) + data.draw(st.integers(0, len(secret) - 1))
        with pytest.raises((DecryptionFailed, StorageFailed)):
            seal.open(damaged(block, at, data.draw(st.integers(1, 255))))

    @CIPHERS
    def test_the_contents_of_two_batches_cannot_be_exchanged(self, cipher: Cipher) -> None:
        seal = seal_of(cipher)
        one, two = (seal.seal(of(body, "more")).records for body in ("one", "two"))
        head, body = one[0].headers, two[0].body
        records = [SequencedRecord(7, 1, body, head), SequencedRecord(8, 1)]
        with pytest.raises(DecryptionFailed):
            seal.open(replace(stored(of("x", "y"), None), body=encode_records(records)))


class TestDamage:
    """What a stored block can be seen to be is told from a wrong key."""

    @CIPHERS
    def test_a_block_that_lost_records_is_damaged(self, cipher: Cipher) -> None:
        seal = seal_of(cipher)
        block = stored(seal.seal(of("a", "b", "c")), cipher)
        records = decode_records(block.body)
        for left in (records[:-1], records[1:], [*records, SequencedRecord(10, 1)], records[:0:-1] + records[:1]):
            hurt = replace(block, body=encode_records(left))
            for look in (seal.open, seal.outlines):
                with pytest.raises(StorageFailed, match="the database is damaged"):
                    look(hurt)

    @CIPHERS
    @pytest.mark.parametrize(("head", "body"), [(b"", b"x" * 99), (b"\0" * 17, b"x" * 99), (None, b"short")])
    def test_a_carrier_of_another_form_is_damaged(self, cipher: Cipher, head: bytes | None, body: bytes) -> None:
        seal = seal_of(cipher)
        block = stored(seal.seal(of("a")), cipher)
        (record,) = decode_records(block.body)
        if head is not None:
            record = replace(record, headers=((b"sealed", head),))
        with pytest.raises(StorageFailed, match="the database is damaged"):
            seal.open(replace(block, body=encode_records([replace(record, body=body)])))

    @CIPHERS
    def test_plain_records_are_not_taken_for_sealed_ones(self, cipher: Cipher) -> None:
        for record in (AppendRecord("x"), AppendRecord("x", headers={"sealed": "x", "as": "if"})):
            with pytest.raises(StorageFailed):
                seal_of(cipher).open(stored(of(record), cipher))

    @given(body=st.binary(max_size=99), cipher=ciphers)
    def test_no_bytes_do_more_than_fail(self, body: bytes, cipher: Cipher) -> None:
        block = replace(stored(of("x"), None), body=body)
        for look in (seal_of(cipher).open, seal_of(cipher).outlines):
            with suppress(StorageFailed, DecryptionFailed):
                look(block)


class TestKeys:
    def test_a_plain_stream_has_no_seal(self) -> None:
        plain = StreamEntry("the-basin", "s", CREATED, CONFIG)
        for key in (None, KEY, EncryptionKey.parse("no key at all")):
            assert Seal.of(plain, key) is None

    @CIPHERS
    def test_a_stream_with_a_cipher_needs_a_well_formed_key(self, cipher: Cipher) -> None:
        for key, message in (
            (None, f"missing encryption key for stream cipher '{cipher.value}'"),
            (EncryptionKey.parse("???"), f"invalid encryption key for stream cipher '{cipher.value}': invalid base64"),
            (EncryptionKey.parse("AAAA"), f"invalid encryption key length for stream cipher '{cipher.value}': 3"),
        ):
            with pytest.raises(BadRequest) as caught:
                Seal.of(entry(cipher), key)
            assert (caught.value.message, caught.value.code) == (message, "bad_header")


class TestReading:
    """Only what is handed out is opened."""

    def read(self, seal: Seal | None, blocks: list[Block], cursor: int = 0, **limits: int) -> ReadBatch:
        return deliver(blocks, cursor, 0, Budget(ReadLimits(**limits)), None, seal).decoded()

    @given(
        groups=st.lists(st.lists(append_records(), min_size=1, max_size=4).map(AppendInput.of), min_size=1, max_size=4),
        cipher=ciphers,
        cursor=st.integers(0, 9),
        count=st.none() | st.integers(1, 12),
        size=st.none() | st.integers(1, 300),
        until=st.none() | st.integers(0, 2 * NOW_MS),
    )
    def test_limits_cut_sealed_blocks_as_plain_ones(
        self,
        groups: list[AppendInput],
        cipher: Cipher,
        cursor: int,
        count: int | None,
        size: int | None,
        until: int | None,
    ) -> None:
        seal = seal_of(cipher)
        plain_state = sealed_state = StreamState()
        plain, sealed = list[Block](), list[Block]()
        for batch in groups:
            plain_state, block, _ = sequence(plain_state, CONFIG, None, batch, now_ms=NOW_MS)
            plain.append(block)
            sealed_state, block, _ = sequence(sealed_state, CONFIG, cipher, seal.seal(batch), now_ms=NOW_MS)
            sealed.append(block)
        budgets = [Budget(ReadLimits(count, size, until)) for _ in range(2)]
        expected = deliver(plain, cursor, 0, budgets[0], None)
        assert deliver(sealed, cursor, 0, budgets[1], None, seal) == expected
        assert budgets[1].spent == budgets[0].spent

    @CIPHERS
    def test_a_wrong_key_reads_what_is_not_sealed(self, cipher: Cipher) -> None:
        right, wrong = seal_of(cipher), seal_of(cipher, OTHER_KEY)
        state, first, _ = sequence(
            StreamState(), CONFIG, cipher, right.seal(of(AppendRecord.fence("me"), "secret")), now_ms=NOW_MS
        )
        _, second, _ = sequence(state, CONFIG, cipher, right.seal(of("secret")), now_ms=NOW_MS)
        fence = self.read(right, [first, second], count=1)
        assert [record.command is not None for record in fence.records] == [True]
        assert self.read(wrong, [first, second], count=1) == fence
        assert self.read(wrong, [first, second], bytes=fence.records[0].metered_bytes + 5) == fence
        for limits in ({"count": 2}, {"bytes": 1000}, dict[str, int]()):
            with pytest.raises(DecryptionFailed):
                self.read(wrong, [first, second], **limits)

    @CIPHERS
    def test_a_block_beyond_the_limits_is_not_opened(self, cipher: Cipher) -> None:
        state, ours, _ = sequence(StreamState(), CONFIG, cipher, seal_of(cipher).seal(of("ours")), now_ms=NOW_MS)
        _, theirs, _ = sequence(state, CONFIG, cipher, seal_of(cipher, OTHER_KEY).seal(of("theirs")), now_ms=NOW_MS + 1)
        for limits in ({"count": 1}, {"bytes": 12}, {"bytes": 20}, {"until": NOW_MS + 1}):
            assert [r.text for r in self.read(seal_of(cipher), [ours, theirs], **limits).records] == ["ours"]
        assert [r.text for r in self.read(seal_of(cipher, OTHER_KEY), [ours, theirs], 1).records] == ["theirs"]
