"""A web server of this checkout's files, for pages that need no provider, and a place where they leave results.

Knows nothing of what the pages do.
"""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.javascript import ROOT
from tests.vectors import golden

VECTORS = sorted(path.stem for path in golden.DIRECTORY.glob("*.json"))


class FileServer:
    """`url`: of the checkout's root. `results`: what pages posted to /results, parsed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://localhost:{port}"
        self.results: queue.Queue[Any] = queue.Queue()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, files: FileServer, **options: Any) -> None:
        self.files = files
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if self.path != "/vectors":
            return super().do_GET()
        return self._answer(json.dumps(VECTORS).encode())

    def do_POST(self) -> None:
        self.files.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def serve_files() -> Iterator[FileServer]:
    """Until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    files = FileServer(server.server_address[1])
    server.RequestHandlerClass = partial(_Handler, directory=str(ROOT), files=files)  # type: ignore[assignment]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
