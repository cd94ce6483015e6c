"""What several commands read from a command line in the same way.

Knows nothing of the commands.
"""

import argparse

from noise.protocol.errors import DecodeError
from noise.protocol.identifiers import parse_id


def parse_id_option(text: str) -> bytes:
    """An id as an option's value, for argparse."""
    try:
        return parse_id(text.strip())
    except DecodeError as error:
        raise argparse.ArgumentTypeError(error.detail) from None
