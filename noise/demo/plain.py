"""The page of `noise serve --demo`: a real provider's, without bots and without lies.

Knows nothing of the zoo, and must not: a real provider's keys never sign a lie.
"""

import time

from noise.demo.assets import find_folder, load_assets
from noise.demo.counts import Counts
from noise.demo.page import PageFace
from noise.node import Node
from noise.protocol.identifiers import format_id
from noise.protocol.json_text import Json


def make_plain_page(node: Node) -> PageFace:
    """The page, for a node that is not running yet. Raises NoiseError."""
    counts, started_ms = Counts(), time.time_ns() // 1_000_000
    counts.watch(node.pipeline)

    def picture() -> Json:
        return {
            "origin": format_id(node.origin),
            "can_lie": False,
            "started_ms": started_ms,
            "bots": [],
            "lies": [],
            "lie": None,
            "pipeline": counts.picture(),
        }

    return PageFace(load_assets(find_folder()), picture)
