"""The files of the browser client, read once and kept: what is not among them when they are read is never served.

Knows nothing of HTTP, nor of what the files say.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from noise.protocol.errors import NoiseError

INDEX = "index.html"
FOLDERS = ("protocol", "io", "ui", "vendor")
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By the end of a file's name. Files with another end belong to whoever develops the page."""

_BESIDE = Path(__file__).with_name("browser")
_IN_CHECKOUT = Path(__file__).parents[2] / "clients" / "browser"


class Asset(NamedTuple):
    """A file. `tag`: another one whenever a byte of it changes."""

    data: bytes
    media_type: str
    tag: str


def find_folder() -> Path:
    """Where the browser client lies: in this package if it was installed from a wheel, else in the checkout.

    Raises NoiseError.
    """
    for folder in (_BESIDE, _IN_CHECKOUT):
        if (folder / INDEX).is_file():
            return folder
    raise NoiseError(
        f"the page's files are neither in {_BESIDE} nor in {_IN_CHECKOUT}: install noise-server from a whole wheel, or "
        "with pip install -e from a whole checkout",
        code="page-missing",
    )


def load_assets(folder: Path) -> dict[str, Asset]:
    """`index.html`, and all files in FOLDERS by their paths there, such as "ui/main.js". Symbolic links are left out.

    Raises NoiseError.
    """
    found: dict[str, Asset] = {}
    paths = [folder / INDEX, *(path for name in FOLDERS for path in sorted((folder / name).rglob("*")))]
    for path in paths:
        media_type = MEDIA_TYPES.get(path.suffix)
        if media_type is None or path.is_symlink() or not path.is_file():
            continue
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NoiseError(f"{path} cannot be read: {error.strerror}", code="page-missing") from None
        found[path.relative_to(folder).as_posix()] = Asset(data, media_type, hashlib.sha256(data).hexdigest()[:32])
    if INDEX not in found:
        raise NoiseError(f"{folder} has no {INDEX}: choose a whole checkout or wheel", code="page-missing")
    return found
