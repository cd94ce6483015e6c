"""Checkpoints as C2SP signed notes: other people's notes and keys fit, and one form alone is accepted."""

import base64
from hashlib import sha256
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noise.protocol.checkpoint import (
    NOTE_BYTES_MAX,
    Checkpoint,
    key_id,
    log_name_of,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
    vkey,
)
from noise.protocol.errors import DecodeError, NoiseError, SignatureError
from noise.protocol.signing import SMALL_ORDER_KEYS, Signer, verify_raw
from tests.protocol.structures import damaged
from tests.vectors.cast import LOG, LOG_NAME, ORIGIN, OTHER_ORIGIN, signer_of
from tests.vectors.make_checkpoint import (
    C2SP_EXAMPLE,
    DASH,
    GO_EXAMPLE,
    GOOD,
    TEXT,
    refused_forms,
    refused_lines,
    refused_names_and_keys,
)

REFUSED = [*refused_lines(), *refused_names_and_keys(), *refused_forms()]
KEY = LOG.public_key


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
@example(0, bytes(32))
@example(2**63 - 1, b"\xff" * 32)
@settings(max_examples=25)
def test_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(LOG_NAME, size, root)
    note = sign_checkpoint(LOG, checkpoint)
    assert verify_checkpoint(note, LOG_NAME, KEY) == checkpoint
    assert len(note) <= NOTE_BYTES_MAX
    parsed, text, hint, signature = parse_checkpoint(note)
    assert parsed == checkpoint
    assert note == text + b"\n" + DASH + LOG_NAME.encode() + b" " + base64.b64encode(hint + signature) + b"\n"
    verify_raw(KEY, signature, text)


def test_the_note_by_hand() -> None:
    name = "noise-seq/" + base64.urlsafe_b64encode(ORIGIN).decode().rstrip("=")
    assert name == LOG_NAME
    root = base64.b64encode(sha256(b"").digest()).decode()
    text = f"{name}\n42\n{root}\n"
    hint = sha256(f"{name}\n\x01".encode() + KEY).digest()[:4]
    line = base64.b64encode(hint + LOG.sign_raw(text.encode())).decode()
    note = sign_checkpoint(LOG, Checkpoint(LOG_NAME, 42, sha256(b"").digest()))
    assert note.decode() == f"{text}\n\u2014 {name} {line}\n"


def test_the_example_of_the_specification() -> None:
    checkpoint, text, hint, signature = parse_checkpoint(C2SP_EXAMPLE.encode())
    assert checkpoint.log_name == "example.com/behind-the-sofa"
    assert checkpoint.size == 20852163
    assert base64.b64encode(checkpoint.root) == b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    assert (text.count(b"\n"), len(hint), len(signature)) == (3, 4, 64)


def test_keys_and_signatures_are_those_of_everybody_else() -> None:
    """The example of golang.org/x/mod/sumdb/note."""
    name, hint, encoded = GO_EXAMPLE["vkey"].split("+", 2)
    key = base64.b64decode(encoded)[1:]
    line = base64.b64decode(GO_EXAMPLE["line"])
    assert key_id(name, key).hex() == hint == line[:4].hex()
    assert vkey(name, key) == GO_EXAMPLE["vkey"]
    verify_raw(key, line[4:], GO_EXAMPLE["text"].encode())


def test_the_good_note_that_the_refused_ones_vary() -> None:
    assert verify_checkpoint(GOOD, LOG_NAME, KEY).size == 7
    assert parse_checkpoint(GOOD)[1] == TEXT


@pytest.mark.parametrize(("why", "note"), REFUSED, ids=[why for why, _ in REFUSED])
def test_lax_variants_are_refused(why: str, note: bytes) -> None:
    with pytest.raises((DecodeError, SignatureError)):
        verify_checkpoint(note, LOG_NAME, KEY)


def test_another_log_or_key_is_refused() -> None:
    for name, key in (
        (log_name_of(OTHER_ORIGIN), KEY),
        (LOG_NAME, signer_of("another log").public_key),
        (LOG_NAME + "x", KEY),
        (LOG_NAME.upper(), KEY),
        (LOG_NAME + "\n7", KEY),
        ("", KEY),
    ):
        with pytest.raises(DecodeError, match="another log"):
            verify_checkpoint(GOOD, name, key)


@pytest.mark.parametrize("key", sorted(SMALL_ORDER_KEYS)[:4], ids=bytes.hex)
def test_a_log_key_of_small_order_is_refused(key: bytes) -> None:
    """A roster that smuggled one in would let anybody sign checkpoints."""
    text = GOOD.partition(b"\n\n")[0]
    constant = (1).to_bytes(32, "little") + bytes(32)
    forged = base64.b64encode(key_id(LOG_NAME, key) + constant)
    note = text + b"\n\n" + DASH + LOG_NAME.encode() + b" " + forged + b"\n"
    with pytest.raises(SignatureError) as refused:
        verify_checkpoint(note, LOG_NAME, key)
    assert refused.value.code == "bad-key"


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(LOG_NAME, 7, bytes(31)),
        Checkpoint(LOG_NAME, 7, bytes(33)),
        Checkpoint(LOG_NAME, 7, b""),
        Checkpoint(LOG_NAME, -1, bytes(32)),
        Checkpoint(LOG_NAME, 2**63, bytes(32)),
        Checkpoint("", 7, bytes(32)),
        Checkpoint("a b", 7, bytes(32)),
        Checkpoint("a+b", 7, bytes(32)),
        Checkpoint("s\u00e9q", 7, bytes(32)),
        Checkpoint("a\n8", 7, bytes(32)),
        Checkpoint("a\n8\n" + "A" * 43 + "=\n\n\u2014 a", 7, bytes(32)),
        Checkpoint("x" * 129, 7, bytes(32)),
    ],
)
def test_nothing_else_is_ever_signed(checkpoint: Checkpoint) -> None:
    """A name with a line break would sign another checkpoint than it says."""
    with pytest.raises(DecodeError):
        sign_checkpoint(LOG, checkpoint)


@given(st.binary(max_size=200))
def test_parsing_is_total(data: bytes) -> None:
    for note in (data, GOOD[:100] + data, data + GOOD[100:], TEXT + b"\n" + DASH + data):
        if note != GOOD:
            with pytest.raises(NoiseError):
                verify_checkpoint(note, LOG_NAME, KEY)


def test_damaged_notes_are_refused(search_factor: int) -> None:
    """Every flipped bit, and accidents of all kinds."""
    for bit in range(8 * len(GOOD)):
        flipped = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(GOOD))
        with pytest.raises(NoiseError):
            verify_checkpoint(flipped, LOG_NAME, KEY)
    random = Random(1)
    for _ in range(1000 * search_factor):
        note = damaged(GOOD, random)
        if note != GOOD:
            with pytest.raises(NoiseError):
                verify_checkpoint(note, LOG_NAME, KEY)


def test_whatever_parses_is_the_only_note_that_says_so(search_factor: int) -> None:
    """Parts may be anything, but each value has one spelling."""
    random = Random(2)
    signer = Signer(random.randbytes(32))
    for _ in range(200 * search_factor):
        note = sign_checkpoint(signer, Checkpoint(LOG_NAME, random.getrandbits(random.randint(0, 63)), bytes(32)))
        try:
            (name, size, root), text, hint, signature = parse_checkpoint(damaged(note, random))
        except DecodeError:
            continue
        again = f"{name}\n{size}\n{base64.b64encode(root).decode()}\n"
        assert text.decode() == again
        assert (len(hint), len(signature)) == (4, 64)
