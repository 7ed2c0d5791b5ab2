"""A text that a server generates, and that a reload of the page does not lose: start, resume and stop over HTTP.

::

    pip install 'perdure[demo]'
    python examples/resumable_text.py ./data 8000
    curl -N -X POST http://127.0.0.1:8000/texts/my-text        # starts it; interrupt this one ...
    curl -N "http://127.0.0.1:8000/texts/my-text?skip=20"      # ... and go on behind the characters that you have
    curl -X DELETE http://127.0.0.1:8000/texts/my-text         # stops it for everybody

The model is a stand-in; put your own loop over its tokens in its place. For whole chats, with `useChat` in the browser
and a history, there is `perdure.resumable.aisdk`; see the README.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI, Response
from granian.constants import Interfaces
from granian.server.embed import Server

from perdure.resumable import create_resumable_stream_context, text_response


async def model(prompt: str) -> AsyncIterator[str]:
    for number in range(1, 101):
        await asyncio.sleep(0.1)  # it thinks
        yield f"{number}. {prompt}\n"


def application(directory: str) -> FastAPI:
    texts = create_resumable_stream_context(path=directory, basin="resumable-texts")
    app = FastAPI(lifespan=texts.lifespan)

    # A text id is not a credential: check in each of these that this user may see this text.

    @app.post("/texts/{text_id}")
    async def start(text_id: str, prompt: str = "Hello") -> Response:
        # Whoever comes second joins the first, and his model is not asked. 422 if the text is complete.
        return text_response(await texts.resumable_stream(text_id, lambda: model(prompt)))

    @app.get("/texts/{text_id}")
    async def resume(text_id: str, skip: int = 0) -> Response:
        # 404 if nobody has started it, 422 if it is complete: `resume_stream` would show that one again.
        return text_response(await texts.resume_existing_stream(text_id, skip))

    @app.delete("/texts/{text_id}", status_code=204)
    async def stop(text_id: str) -> None:
        await texts.stop_stream(text_id)

    return app


async def main(directory: str, port: int) -> None:
    server = Server(application(directory), "127.0.0.1", port, interface=Interfaces.ASGI, log_enabled=False)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, server.stop)
    print(f"http://127.0.0.1:{port}/texts/my-text", flush=True)
    await server.serve()


if __name__ == "__main__":
    directory, port, *_ = [*sys.argv[1:], *("./data", "8000")[len(sys.argv) - 1 :]]
    asyncio.run(main(directory, int(port)))
