"""A token that may only read one stream: issued by whoever runs the server, used by somebody else.

::

    PERDURE_ROOT_TOKEN=root-secret perdure serve --data ./data
    python examples/access_tokens.py http://127.0.0.1:3458 root-secret

Where there is no client with the root token at hand, a script may issue tokens on the server's own directory:
`S2.open("./data").access_tokens` has the same methods, and the server knows the token at once.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from perdure import (
    S2,
    AccessTokenScope,
    AccumulationMetric,
    AppendRecord,
    AuthenticationFailed,
    BasinMetricSet,
    ExactMatch,
    OperationGroupPermissions,
    Permission,
    PermissionDenied,
    SeqNum,
)


async def main(url: str, root_token: str) -> None:
    async with S2(access_token=root_token, endpoints=url) as root:
        basin = await root.basins.ensure("token-example", create_stream_on_append=True)
        for name in ("news", "diary"):
            await basin.stream(name).append([AppendRecord(f"the first record of {name}")])

        # What a token may do is said twice, and a call needs both: the operations, and the names to use them on.
        scope = AccessTokenScope(
            basins=ExactMatch("token-example"),
            streams=ExactMatch("news"),
            op_groups=OperationGroupPermissions(stream=Permission.READ),
        )
        await root.access_tokens.revoke("reader", ignore_not_found=True)
        token = await root.access_tokens.issue("reader", scope=scope, expires_at=datetime.now(UTC) + timedelta(days=1))
        print(f"issued: {token!r}")  # the secret itself is `str(token)`: hand it on, it is not shown again

        async with S2(access_token=token, endpoints=url) as reader:
            news = reader.basin("token-example").stream("news")
            for record in (await news.read(SeqNum(0), count=1)).records:
                print(f"read: {record.text}")
            for what, call in (
                ("another stream", reader.basin("token-example").stream("diary").read(SeqNum(0))),
                ("appending", news.append([AppendRecord("me too")])),
            ):
                try:
                    await call
                except PermissionDenied as error:
                    print(f"{what}: {error}")

            await root.access_tokens.revoke("reader")
            while True:  # with several workers, it takes up to a second until all of them know
                try:
                    await news.check_tail()
                except AuthenticationFailed as error:
                    print(f"revoked: {error}")
                    break
                await asyncio.sleep(0.1)

        # How much was used is counted. A server with several workers has all of it together after a few seconds.
        start = datetime.now(UTC) - timedelta(hours=1)
        for metric in await root.metrics.basin("token-example", BasinMetricSet.READ_THROUGHPUT, start=start):
            if isinstance(metric, AccumulationMetric):
                print(f"{metric.name}: {sum(point.value for point in metric.points):g} {metric.unit}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
