"""What log lines on streams have as `extra`, so that programs need not take sentences apart."""

from __future__ import annotations

from .spans import error_type


def about(
    stream: str | None = None, *, generation: int | None = None, error: BaseException | None = None
) -> dict[str, object]:
    """The fields `stream`, `generation` (the sequence number of its first record) and `error_code`, where known."""
    fields: dict[str, object] = {}
    if stream is not None:
        fields["stream"] = stream
    if generation is not None:
        fields["generation"] = generation
    if error is not None:
        fields["error_code"] = error_type(error)
    return fields
