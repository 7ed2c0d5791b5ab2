"""What the SDK comparison measures, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .payload import KIB, LARGEST_BODY, MIB
from .sdk_client import Bodies, Job, Work

_KB = Bodies(100, KIB - 8)
_FULL = Bodies(1000, MIB // 1000 - 8)
_LARGE = Bodies(1, LARGEST_BODY)
_TEXT = Bodies(100, KIB - 8, is_text=True)
_ONE = Bodies(1, KIB - 8)
_SMALL = Bodies(1, 100)
_MANY = Bodies(1000, 100)

_QUICK_SHARE = 10


@dataclass(frozen=True)
class Measure:
    """What both SDKs do in turns. `least` is the ratio wanted; `unit` None: the median latency counts, not the rate."""

    what: str
    job: Job
    unit: str | None
    per: float = 1.0
    """Units in one `count` of the job."""
    least: float = 1.0
    has_ceiling: bool = False
    has_memory: bool = False


def measures(*, quick: bool) -> list[Measure]:
    """All of them; `quick`: a tenth of the work."""
    found = _measures()
    return found if not quick else [replace(measure, job=_less(measure.job)) for measure in found]


def _less(job: Job) -> Job:
    return replace(job, count=max(job.count // _QUICK_SHARE, job.at_once, 5))


def _measures() -> list[Measure]:
    def bulk(stream: str, work: Work, bodies: Bodies, mebibytes: int, *, packing: str = "none") -> Job:
        return Job(work, stream, bodies, mebibytes * MIB // bodies.batch_bytes, packing)

    appends, reads = Work.APPEND_SESSION, Work.CATCH_UP
    return [
        Measure(
            "append session, 100 records of 1 KB a batch",
            bulk("a-100", appends, _KB, 60), "records/s", 100, 2, has_ceiling=True,
        ),
        Measure(
            "append session, 1,000 records in 1 MiB a batch",
            bulk("a-1000", appends, _FULL, 60), "records/s", 1000, 2, has_ceiling=True,
        ),
        Measure(
            "append session, one record of 1 MiB a batch",
            bulk("a-1", appends, _LARGE, 80), "MiB/s", 1, 2, has_ceiling=True,
        ),
        Measure(
            "append session, one record of 1 KB a batch",
            Job(appends, "a-small", _ONE, 8000), "records/s", 1, has_ceiling=True,
        ),
        Measure(
            "append session, 100 records of 1 KB a batch, zstd",
            bulk("a-zstd", appends, _TEXT, 60, packing="zstd"), "records/s", 100, has_ceiling=True,
        ),
        Measure(
            "append session, 100 records of 1 KB a batch, gzip",
            bulk("a-gzip", appends, _TEXT, 40, packing="gzip"), "records/s", 100, has_ceiling=True,
        ),
        Measure("producer, records of 1 KB", Job(Work.PRODUCE, "p", _ONE, 50_000), "records/s", 1, 2, has_ceiling=True),
        Measure(
            "producer, records of 100 B",
            Job(Work.PRODUCE, "p-small", _SMALL, 80_000), "records/s", 1, 2, has_ceiling=True,
        ),
        Measure(
            "read session catching up, 100 records of 1 KB a batch",
            bulk("r-100", reads, _KB, 100), "MiB/s", _KB.batch_bytes / MIB, 3, has_ceiling=True,
        ),
        Measure(
            "read session catching up, 1,000 records in 1 MiB a batch",
            bulk("r-1000", reads, _FULL, 100), "MiB/s", _FULL.batch_bytes / MIB, 3, has_ceiling=True, has_memory=True,
        ),
        Measure(
            "read session catching up, one record of 1 MiB a batch",
            bulk("r-1", reads, _LARGE, 200), "MiB/s", 1, 3, has_ceiling=True,
        ),
        Measure(
            "read session catching up, 1,000 records of 100 B a batch",
            bulk("r-small", reads, _MANY, 20), "records/s", 1000, 3, has_ceiling=True,
        ),
        Measure(
            "read session catching up, 100 records of 1 KB a batch, zstd",
            bulk("r-text", reads, _TEXT, 60, packing="zstd"), "MiB/s", _TEXT.batch_bytes / MIB,
        ),
        Measure(
            "read session catching up, 100 records of 1 KB a batch, gzip",
            bulk("r-text", reads, _TEXT, 60, packing="gzip"), "MiB/s", _TEXT.batch_bytes / MIB,
        ),
        Measure("unary appends of 1 KB, one at a time", Job(Work.APPEND, "u", _ONE, 500), None),
        Measure("unary appends of 1 KB, 16 at a time", Job(Work.APPEND, "u", _ONE, 1600, at_once=16), "requests/s"),
        Measure("unary reads of 100 records of 1 KB", Job(Work.READ, "r-100", _KB, 300), None),
        Measure("check_tail", Job(Work.CHECK_TAIL, "u", _ONE, 600), None),
        Measure("ack of a lone batch in a session", Job(Work.SESSION_ACKS, "s", _ONE, 500), None),
        Measure("append to a follower in the same process", Job(Work.FOLLOW, "f", _ONE, 400), None),
    ]  # fmt: skip
