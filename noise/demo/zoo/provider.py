"""Runs a lying provider on real sockets, in this process: the real node, the real faces, and one lie installed.

Knows nothing of what the lie is. It stops, lets the lie do what operators do with files, and starts again at the same
ports, when the lie asks for that. An honest one may become a liar while it is served.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from noise.config import ServeOptions
from noise.demo.zoo.custody_lies import garble_custody, hide_custody, suppress_challenges
from noise.demo.zoo.lie import Lie
from noise.demo.zoo.shadows import Shadows
from noise.node import Layout, Node, create_node, open_node, serve_node
from noise.protocol.identifiers import format_id
from noise.web.app import Face

EPOCH_MS, IDLE_MS, HEARTBEAT_MS = 5, 500, 100
"""For the impatient: a lie that waits for a second message, or for the next epoch, waits half a second at most."""


CHALLENGE_EPOCHS = 12
"""Some more than those for which a late liar is silent."""


class LyingProvider:
    """What clients and tests need of it. `urls`: one for each branch; a fork has two. `starts`: how often it began.

    `more`: faces beside the usual ones.
    """

    def __init__(self, lie: Lie | None, options: ServeOptions, more: Sequence[Face] = ()) -> None:
        self.lie = lie
        self.urls: list[str] = []
        self.origin = b""
        self.nodes: list[Node] = []
        self.starts = 0
        self.on_opened: Callable[[Sequence[Node]], None] = lambda _: None
        """Called with the nodes of each start, before they are served."""
        self._options = options
        self._more = more
        self._directories: list[Path] = []
        self._coming: Lie | None = None
        self._restart = trio.Event()
        self._stop = trio.Event()
        self._changed = trio.Event()

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def origin_text(self) -> str:
        """As people and command lines have it."""
        return format_id(self.origin)

    @property
    def epoch(self) -> int:
        """The last one that was shown to anybody, by the first branch."""
        view = self.nodes[0].pipeline.fanout.view
        return view.epoch if view else -1

    async def wait_started(self, count: int) -> None:
        """Until it is being served for the `count`-th time."""
        while self.starts < count:
            await self._changed.wait()

    def stop(self) -> None:
        self._stop.set()

    def become(self, lie: Lie) -> None:
        """Tell a lie from now on, after none: at once, or after another start if it needs one. Raises NoiseError."""
        if lie.needs_start:
            self._coming = lie
            self._restart.set()
        else:
            install(lie, self.nodes, self._directories)
            self.lie = lie

    async def run(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Started when all branches answer."""
        options = self._options
        directories = self.lie.branches(options.data) if self.lie else [options.data]
        branches = [
            options._replace(data=data, port=options.port + i if options.port else 0)
            for i, data in enumerate(directories)
        ]
        while True:
            branches = await self._serve(branches, task_status)
            if self._stop.is_set():
                return
            if self._coming is not None:
                self.lie, self._coming = self._coming, None
                directories = self.lie.branches(options.data)
                branches = [branches[0], *[options._replace(data=data, port=0) for data in directories[1:]]]
            elif self.lie is not None:
                await self.lie.between(branches[0])
                self.lie.restart_wanted = trio.Event()

    async def _serve(self, branches: list[ServeOptions], task_status: "trio.TaskStatus[None]") -> list[ServeOptions]:
        """Serve all branches until it is time to stop or to start again; the same, with the ports that they got."""
        ended, served = trio.Event(), list(branches)
        self._restart = trio.Event()
        ready: dict[int, str] = {}

        def on_ready(number: int) -> Callable[[str, bytes], None]:
            def take(url: str, origin: bytes) -> None:
                served[number] = branches[number]._replace(port=int(url.rpartition(":")[2]))
                ready[number] = url
                if len(ready) == len(branches):
                    self.urls = [ready[number] for number in range(len(branches))]
                    self.origin = origin
                    self._note_start(task_status)

            return take

        async with AsyncExitStack() as stack:
            self.nodes = [await stack.enter_async_context(open_node(options)) for options in branches]
            self._directories = [options.data for options in branches]
            if self.lie is not None:
                install(self.lie, self.nodes, self._directories)
            self.on_opened(self.nodes)
            async with trio.open_nursery() as nursery:
                for number, (node, options) in enumerate(zip(self.nodes, branches, strict=True)):
                    nursery.start_soon(serve_node, node, options, on_ready(number), ended, self._more)
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(_cancel_after, self._stop, waiting.cancel_scope)
                    waiting.start_soon(_cancel_after, self._restart, waiting.cancel_scope)
                    if self.lie is not None:
                        waiting.start_soon(_cancel_after, self.lie.restart_wanted, waiting.cancel_scope)
                ended.set()
        return served

    def _note_start(self, task_status: "trio.TaskStatus[None]") -> None:
        self.starts += 1
        if self.starts == 1:
            task_status.started()
        self._changed.set()
        self._changed = trio.Event()


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def install(lie: Lie, nodes: Sequence[Node], directories: Sequence[Path]) -> None:
    """Make liars of nodes, which lie in these directories. Unless a lie needs a start, they may be running."""
    for node, data in zip(nodes, directories, strict=True):
        lie.install(node, Shadows(Layout(data).database.parent / "shadows"))
        hide_custody(node.custody, lie)
        garble_custody(node.pipeline.custody_desk, lie)
        suppress_challenges(node.pipeline.challenges, lie)
    lie.connect(nodes)


def impatient(data: Path) -> ServeOptions:
    """One inbox, one outbox, a free port, and short intervals."""
    options = ServeOptions(data, "127.0.0.1", 0, "parallel", None, None, EPOCH_MS, IDLE_MS, HEARTBEAT_MS)
    return options._replace(challenge_epochs=CHALLENGE_EPOCHS)


@asynccontextmanager
async def lying_provider(
    lie: Lie | None, data: Path, options: ServeOptions | None = None
) -> AsyncIterator[LyingProvider]:
    """Serve the provider in `data`, made if there is none, until the block ends. Without a lie it is honest."""
    if not data.exists():
        await create_node(data)
    provider = LyingProvider(lie, options or impatient(data))
    async with trio.open_nursery() as nursery:
        await nursery.start(provider.run)
        yield provider
        provider.stop()
