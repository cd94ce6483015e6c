"""What a client stores of its trust: the same after a round trip, and refused when a disk has changed it.

Knows nothing of how trust comes about.
"""

from hashlib import sha256
from random import Random

import pytest

from noise.protocol.errors import DecodeError, ProofError
from noise.protocol.trust import NOTHING, encode_trusted, parse_trusted
from tests.pipeline.recording import MOMENTS, record
from tests.protocol.structures import damaged

DAMAGES = 200


def blobs() -> list[bytes]:
    moments = record().moments
    return [encode_trusted(moment.check(moment.delta).trusted) for moment in moments.values()] + [
        encode_trusted(NOTHING)
    ]


def sealed(encoded: bytes) -> bytes:
    """With a right checksum."""
    return sha256(encoded).digest()[:8] + encoded


def test_round_trip() -> None:
    for name in MOMENTS:
        moment = record().moments[name]
        for trusted in (moment.trusted, moment.check(moment.delta).trusted):
            assert parse_trusted(encode_trusted(trusted)) == trusted
    assert parse_trusted(encode_trusted(NOTHING)) == NOTHING
    assert len(set(blobs())) > len(MOMENTS) // 2


def test_nothing_of_it_is_lost() -> None:
    """The recording knows every part: rosters, peaks, bounds, another leaf, a state, and how far was delivered."""
    parts = [parse_trusted(blob) for blob in blobs()]
    assert any(len(trusted.rosters) > 1 for trusted in parts)
    assert any(trusted.other for trusted in parts)
    assert any(trusted.path for trusted in parts)
    assert any(len(trusted.log.peaks) > 1 for trusted in parts)
    assert any(trusted.bounds for trusted in parts)
    assert any(trusted.delivered and trusted.delivered.state != trusted.state for trusted in parts)


def test_every_damage_is_noticed() -> None:
    """Else it would look like a lie of the provider, one day."""
    random = Random(1)
    for blob in blobs():
        for _ in range(DAMAGES // 10):
            data = damaged(blob, random)
            if data != blob:
                with pytest.raises(DecodeError):
                    parse_trusted(data)
    blob = blobs()[-2]
    for at in range(len(blob)):
        with pytest.raises(DecodeError):
            parse_trusted(blob[:at])
        with pytest.raises(DecodeError):
            parse_trusted(blob[:at] + bytes([blob[at] ^ 1 << at % 8]) + blob[at + 1 :])


def test_parsing_is_total(search_factor: int) -> None:
    """Also where the checksum is right: somebody else's program wrote it."""
    random, n_parsed = Random(2), 0
    for blob in blobs():
        for _ in range(DAMAGES * search_factor):
            data = sealed(damaged(blob[8:], random))
            try:
                trusted = parse_trusted(data)
            except (DecodeError, ProofError):
                continue
            n_parsed += 1
            assert encode_trusted(trusted) == data
    assert n_parsed > DAMAGES // 10
