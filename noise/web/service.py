"""Serves a provider: its pipeline, its HTTP face and its push face, from the first epoch to the last answer.

Knows nothing of configuration files or signals.
"""

from collections.abc import Callable, Sequence
from functools import partial

import trio

from noise.protocol.frames import PUSH_PATH
from noise.web.app import Face, create_app
from noise.web.gateway import Gateway
from noise.web.listen import listener_url, open_listeners, serve_http
from noise.web.push import PushFace


async def serve_web(
    gateway: Gateway,
    host: str,
    port: int,
    on_ready: Callable[[str, bytes], None],
    stop: trio.Event,
    more: Sequence[Face] = (),
) -> None:
    """Serve until `stop`; then take no more, commit and show what was accepted, and return.

    `on_ready(url, origin)` is called once, when an epoch of this run is committed and requests are being answered.
    `more`: faces beside those that every provider has.
    Raises NoiseError when the port cannot be had, and whatever a stage of the pipeline raises.
    """
    listeners = await open_listeners(host, port)
    pipeline = gateway.pipeline
    face = PushFace(gateway)
    app = create_app(gateway, more=more)
    stopped = trio.Event()

    async def run_pipeline() -> None:
        await pipeline.run()
        stopped.set()

    async with trio.open_nursery() as background:
        background.start_soon(run_pipeline)
        background.start_soon(pipeline.fanout.run_heartbeats)
        await pipeline.fanout.ready.wait()
        async with trio.open_nursery() as faces:
            serve = partial(serve_http, app, listeners, push_path=PUSH_PATH, push_handler=face.serve, stop=stop)
            await faces.start(serve)
            on_ready(listener_url(listeners), gateway.origin)
            await stop.wait()
            pipeline.stop()
            await stopped.wait()
            await face.close()
        background.cancel_scope.cancel()
