"""Stores in files for the tests of SQLite, and processes that write to them.

Knows nothing of what a test is after.
"""

import subprocess
import sys
from pathlib import Path

from noise.store.sqlite import create_sqlite, open_sqlite
from tests.store.conftest import ORIGIN
from tests.store.examples import blob, fill, make_manifest, make_upload, refused

ROOT = Path(__file__).resolve().parents[2]


async def make_store(path, epochs=2):
    """A closed store with something of everything in it."""
    await create_sqlite(path, ORIGIN)
    async with open_sqlite(path, ORIGIN) as store:
        await fill(store, epochs)
        await store.append_manifest(make_manifest(epochs))
        await store.add_roster(0, blob("roster", size=3000))
        await store.add_prekeys(make_upload([1, 2], 3))


async def open_refused(path, kind, origin=ORIGIN):
    with refused(kind) as caught:
        async with open_sqlite(path, origin):
            pass
    return caught


CHILD = """
import os, resource, sys
from pathlib import Path
import trio
from noise.protocol.errors import NoiseError
from noise.store.sqlite import create_sqlite, open_sqlite
from tests.store.examples import *
path, origin = Path(sys.argv[1]), bytes(range(32))
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


def start_child(code, *arguments):
    """A Python process that has the store at hand."""
    command = [sys.executable, "-c", CHILD + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
