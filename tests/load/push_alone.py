"""What one frame costs from `send_nowait` to the kernel, with 500 WebSockets open and nothing else in the process.

    python -m tests.load.push_alone 500 1500 200      connections, bytes per frame, rounds

Prints JSON. Real WebSockets (`noise.web.websocket`) over loopback TCP, each with its writer task; a child process holds
the other ends and reads all that comes. Only the calls are timed, by this process's own processor time.
"""

import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time

import trio

from noise.web.budget import Budget
from noise.web.websocket import BUDGET_BYTES_MAX, Budgets, WebSocket, accept_websocket
from tests.load.wire import encode_upgrade

_PAUSE_S = 0.02
_WARM_UP_ROUNDS = 20


async def _accept(listener: trio.SocketListener, count: int, budgets: Budgets) -> list[WebSocket]:
    websockets = []
    for _ in range(count):
        stream = await listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(1 << 14)
        websockets.append(await accept_websocket(stream, head, budgets))
    return websockets


async def _measure(count: int, frame_bytes: int, n_rounds: int) -> dict[str, float]:
    """Processor time per frame, in us, over rounds of one frame to each connection."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    reader = subprocess.Popen([sys.executable, "-m", __spec__.name, str(count), str(port)])
    budgets = Budgets(Budget(BUDGET_BYTES_MAX), Budget(BUDGET_BYTES_MAX))
    frame = os.urandom(frame_bytes)
    rounds = []
    async with trio.open_nursery() as nursery:
        websockets = await _accept(listener, count, budgets)
        for websocket in websockets:
            nursery.start_soon(websocket.run_writer)
        for _ in range(_WARM_UP_ROUNDS + n_rounds):
            await trio.sleep(_PAUSE_S)
            if budgets.outgoing.used:
                raise RuntimeError("the reader is behind: frames were queued, not pushed")
            started = time.process_time()
            for websocket in websockets:
                websocket.send_nowait(frame)
            rounds.append((time.process_time() - started) / count * 1e6)
        nursery.cancel_scope.cancel()
    reader.terminate()
    reader.wait()
    rounds = rounds[_WARM_UP_ROUNDS:]
    return {"mean_us": statistics.mean(rounds), "median_us": statistics.median(rounds), "max_us": max(rounds)}


def _read_all(count: int, port: int) -> None:
    """The other process: open, then read and forget, until it is ended."""
    epoll = select.epoll()
    socks = {}
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(encode_upgrade(f"127.0.0.1:{port}")[0])
        sock.setblocking(False)
        socks[sock.fileno()] = sock
        epoll.register(sock.fileno(), select.EPOLLIN)
    buffer = bytearray(1 << 16)
    while socks:
        for fd, _ in epoll.poll():
            if not socks[fd].recv_into(buffer):
                epoll.unregister(fd)
                del socks[fd]


def main() -> int:
    numbers = [int(argument) for argument in sys.argv[1:]]
    if len(numbers) == 2:
        _read_all(*numbers)
    else:
        print(json.dumps(trio.run(_measure, *numbers)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
