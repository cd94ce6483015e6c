"""What comes of a proof: a verdict, or nothing.

Knows nothing of what is proven.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.identifiers import Actor

PROVIDER = "provider"


class NotProven(NoiseError):
    """Well-formed, and no proof of anything."""

    default_code: ClassVar[str] = "not-proven"


class Step(NamedTuple):
    """What one actor signed of the message at `seq` for `mailbox`, as a person reads it. `is_lie`: it is convicted."""

    actor: str
    mailbox: bytes
    seq: bytes
    does: str
    is_lie: bool


class Verdict(NamedTuple):
    """Who is convicted of what. `accused`: the provider, or the actor whose own signatures contradict each other.

    `kind`: the name of the class. `detail`: one or two sentences for a person. `way`: of the message through the
    stages, in order, as far as it is known. `is_suspicion`: it is no lie that is proven, only silence.
    """

    kind: str
    accused: str
    origin: bytes
    epoch: int
    detail: str
    way: tuple[Step, ...] = ()
    is_suspicion: bool = False


@contextmanager
def nothing_else() -> Iterator[None]:
    """Whatever else the code within refuses is not proven: a DecodeError and NotProven pass."""
    try:
        yield
    except (DecodeError, NotProven):
        raise
    except NoiseError as error:
        raise NotProven(error.detail) from error


def name_signer(*signers: tuple[Actor, bytes]) -> str:
    """The actor whose one key signed all of this, or else the provider. A signer: (actor, key)."""
    return str(signers[0][0]) if len(set(signers)) == 1 else PROVIDER
