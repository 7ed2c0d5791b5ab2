"""Every HTTP header name and media type of the S2 v1 API (store API, sections 2.1, 2.6 to 2.9), each said once.

Names are lower case, as HTTP/2 wants them and as SDKs send them, and bytes, as ASGI hands them over.
"""

from __future__ import annotations

from typing import Final

# What the protocol adds.
S2_BASIN: Final = b"s2-basin"
"""The basin of a `/streams…` request, on a host that does not name it."""

S2_REQUEST_TOKEN: Final = b"s2-request-token"
"""Makes a POST that creates something idempotent; at most `limits.MAX_REQUEST_TOKEN_BYTES` long."""

S2_PROVISION_RESULT: Final = b"s2-provision-result"
"""On answers to POST and PUT of basins and streams: `created`, `updated` or `noop`."""

S2_ENCRYPTION_KEY: Final = b"s2-encryption-key"
"""A client's key, base64. A secret: it never reaches a log or an error."""

S2_FORMAT: Final = b"s2-format"
"""How bytes stand in JSON: see `perdure.wire.media.Format`."""

S2_STREAM_CONFIG: Final = b"s2-stream-config"
"""A `StreamConfig` as JSON, for the stream that an append or a read creates; without meaning if there is one."""

RETRY_AFTER_MS: Final = b"retry-after-ms"
"""The least delay in milliseconds before a unary request is tried again."""

LAST_EVENT_ID: Final = b"last-event-id"
"""Where an SSE read resumes: see `perdure.wire.sse_reads.LastEventId`."""

# What HTTP has anyway.
ACCEPT: Final = b"accept"
ACCEPT_ENCODING: Final = b"accept-encoding"
ALLOW: Final = b"allow"
AUTHORIZATION: Final = b"authorization"
CACHE_CONTROL: Final = b"cache-control"
CONNECTION: Final = b"connection"
CONTENT_ENCODING: Final = b"content-encoding"
CONTENT_LENGTH: Final = b"content-length"
CONTENT_SECURITY_POLICY: Final = b"content-security-policy"
CONTENT_TYPE: Final = b"content-type"
CROSS_ORIGIN_OPENER_POLICY: Final = b"cross-origin-opener-policy"
ETAG: Final = b"etag"
HOST: Final = b"host"
IF_NONE_MATCH: Final = b"if-none-match"
LOCATION: Final = b"location"
ORIGIN: Final = b"origin"
PROXY_AUTHORIZATION: Final = b"proxy-authorization"
REFERRER_POLICY: Final = b"referrer-policy"
RETRY_AFTER: Final = b"retry-after"
TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
USER_AGENT: Final = b"user-agent"
VARY: Final = b"vary"
WWW_AUTHENTICATE: Final = b"www-authenticate"
X_ACCEL_BUFFERING: Final = b"x-accel-buffering"
X_CONTENT_TYPE_OPTIONS: Final = b"x-content-type-options"

ACCESS_CONTROL_ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"
ACCESS_CONTROL_ALLOW_HEADERS: Final = b"access-control-allow-headers"
ACCESS_CONTROL_ALLOW_METHODS: Final = b"access-control-allow-methods"
ACCESS_CONTROL_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
ACCESS_CONTROL_EXPOSE_HEADERS: Final = b"access-control-expose-headers"
ACCESS_CONTROL_MAX_AGE: Final = b"access-control-max-age"
ACCESS_CONTROL_REQUEST_HEADERS: Final = b"access-control-request-headers"
ACCESS_CONTROL_REQUEST_METHOD: Final = b"access-control-request-method"

# Media types.
JSON: Final = b"application/json"
PROTOBUF: Final = b"application/protobuf"
X_PROTOBUF: Final = b"application/x-protobuf"
"""What the Python SDK calls protobuf; answers say `PROTOBUF`."""

S2S: Final = b"s2s/proto"
EVENT_STREAM: Final = b"text/event-stream"
PLAIN_TEXT: Final = b"text/plain; charset=utf-8"
PROMETHEUS_TEXT: Final = b"text/plain; version=0.0.4"

SECRET_HEADERS: Final = frozenset({AUTHORIZATION, PROXY_AUTHORIZATION, S2_ENCRYPTION_KEY})
"""What nobody may log or repeat."""

UNBUFFERED: Final = ((CACHE_CONTROL, b"no-cache, no-transform"), (X_ACCEL_BUFFERING, b"no"))
"""On the answer to every session, against proxies that hold data back (section 2.9)."""
