"""Makes the golden vectors of checkpoints: notes that verify, and every lax variant, which must not.

Sources: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint, and the examples there and in Go's
golang.org/x/mod/sumdb/note. Accepted notes are text, refused ones hex.
"""

import base64
from typing import Any

from noise.protocol.checkpoint import (
    Checkpoint,
    key_id,
    log_name_of,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
    vkey,
)
from noise.protocol.merkle import EMPTY_ROOT
from noise.protocol.signing import Signer
from tests.vectors.cast import LOG, LOG_NAME, ORIGIN, OTHER_ORIGIN, filler, seed_of, signer_of
from tests.vectors.golden import readable, refusal_of, write

DASH = "\u2014 ".encode()
C2SP_EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
GO_EXAMPLE = {  # a note, but no checkpoint: it shows that key ids, keys and signatures are those of everybody else
    "vkey": "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    "text": "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
    "line": "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
}

CHECKPOINTS = [
    Checkpoint(LOG_NAME, 0, EMPTY_ROOT),
    Checkpoint(LOG_NAME, 1, filler("root", 32)),
    Checkpoint(LOG_NAME, 2**53 + 1, bytes(32)),
    Checkpoint(LOG_NAME, 2**63 - 1, b"\xff" * 32),
    Checkpoint(log_name_of(OTHER_ORIGIN), 20852163, filler("another root", 32)),
]


def sign_text(signer: Signer, text: bytes, name: bytes, hint: bytes | None = None) -> bytes:
    """A note over any text: what a careless or a hostile log might sign."""
    line = (key_id(name.decode(), signer.public_key) if hint is None else hint) + signer.sign_raw(text)
    return text + b"\n" + DASH + name + b" " + base64.b64encode(line) + b"\n"


def loosened(text: bytes) -> bytes:
    """The base64 text with a bit set that decodes to nothing: the letter before the padding, and one more."""
    at = text.rindex(b"=") - 1
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return text[:at] + bytes([alphabet[alphabet.index(text[at]) + 1]]) + text[at + 1 :]


NAME = LOG_NAME.encode()
ROOT_TEXT = base64.b64encode(filler("root", 32))
GOOD = sign_checkpoint(LOG, Checkpoint(LOG_NAME, 7, filler("root", 32)))
TEXT, LINE = GOOD.split(b"\n\n")
TEXT += b"\n"
HINT, SIGNATURE = key_id(LOG_NAME, LOG.public_key), LINE.split(b" ")[2].strip()


def signed(size: bytes = b"7", root: bytes = ROOT_TEXT, name: bytes = NAME, rest: bytes = b"") -> bytes:
    """A note with such lines, rightly signed all the same."""
    return sign_text(LOG, name + b"\n" + size + b"\n" + root + b"\n" + rest, NAME)


def refused_lines() -> list[tuple[str, bytes]]:
    """What a size, a root and a signature must not look like."""
    sizes = [b"07", b"00", b"+7", b"-7", b"-0", b"", b" 7", b"7 ", b"7.0", b"7e0", b"0x7", b"1_0", b"7\x00"]
    sizes += ["\uff17".encode(), *(b"%d" % n for n in (2**63, 2**64 - 1, 2**64 + 7, 10**20 - 1, 10**21 - 1))]
    roots = [ROOT_TEXT[:-1], ROOT_TEXT + b"=", b"", ROOT_TEXT + ROOT_TEXT, b"A" * 44, b" " + ROOT_TEXT]
    roots += [loosened(ROOT_TEXT), ROOT_TEXT[:20] + b"\n" + ROOT_TEXT[20:], b"_" + ROOT_TEXT[1:]]
    roots += [base64.b64encode(filler("root", n)) for n in (31, 33)]
    raw = LOG.sign_raw(TEXT)
    signatures = [base64.b64encode(part) for part in (HINT + raw[:-1], HINT + raw + b"\0", raw, b"", HINT + HINT + raw)]
    signatures += [SIGNATURE[:-1], SIGNATURE + b"=", SIGNATURE + b" ", b" " + SIGNATURE]
    signatures += [loosened(SIGNATURE), SIGNATURE.replace(b"/", b"_")]
    return [
        *(("size " + ascii(size)[1:], signed(size=size)) for size in sizes),
        *(("root " + ascii(root)[1:], signed(root=root)) for root in roots),
        *(("signature " + ascii(s)[1:], TEXT + b"\n" + DASH + NAME + b" " + s + b"\n") for s in signatures),
    ]


def refused_names_and_keys() -> list[tuple[str, bytes]]:
    other, lines = signer_of("another log"), b"\n7\n" + ROOT_TEXT + b"\n"
    return [
        ("another name in the text", signed(name=log_name_of(OTHER_ORIGIN).encode())),
        ("another name in the signature line", sign_text(LOG, TEXT, b"noise-seq/else")),
        ("another log", sign_text(LOG, b"noise-seq/else" + lines, b"noise-seq/else")),
        ("a name with a space", sign_text(LOG, b"noise seq" + lines, b"noise seq")),
        ("a name with a plus", sign_text(LOG, b"noise+seq" + lines, b"noise+seq")),
        ("a name beyond ASCII", sign_text(LOG, "s\u00e9q".encode() + lines, "s\u00e9q".encode())),
        ("no name", sign_text(LOG, lines, b"")),
        ("another key id", sign_text(LOG, TEXT, NAME, bytes(4))),
        ("the id of another key", sign_text(LOG, TEXT, NAME, key_id(LOG_NAME, other.public_key))),
        ("another key", sign_text(other, TEXT, NAME)),
        ("another key under this key's id", sign_text(other, TEXT, NAME, HINT)),
        ("another size under the signature", GOOD.replace(b"\n7\n", b"\n8\n")),
        ("another root under the signature", GOOD.replace(ROOT_TEXT, base64.b64encode(bytes(32)))),
    ]


def refused_forms() -> list[tuple[str, bytes]]:
    witness = DASH + b"witness.example " + base64.b64encode(filler("witness", 68)) + b"\n"
    return [
        ("an extension line", signed(rest=b"extension\n")),
        ("an empty extension line", signed(rest=b"\n")),
        ("two signatures", GOOD + LINE),
        ("a witness as well", GOOD + witness),
        ("a witness before", TEXT + b"\n" + witness + LINE),
        ("no signature line", TEXT + b"\n"),
        ("text alone", TEXT),
        ("nothing", b""),
        ("no newline at the end", GOOD[:-1]),
        ("a second newline at the end", GOOD + b"\n"),
        ("bytes before", b" " + GOOD),
        ("bytes after", GOOD + b" "),
        ("a byte order mark", b"\xef\xbb\xbf" + GOOD),
        ("CRLF everywhere", GOOD.replace(b"\n", b"\r\n")),
        ("CRLF in the signed text", sign_text(LOG, TEXT.replace(b"\n", b"\r\n"), NAME)),
        ("CR", GOOD.replace(b"\n", b"\r")),
        ("no empty line", TEXT + LINE),
        ("two empty lines", TEXT + b"\n\n" + LINE),
        ("a space in the empty line", TEXT + b" \n" + LINE),
        ("a hyphen for the dash", GOOD.replace(DASH, b"- ")),
        ("an en dash for the em dash", GOOD.replace(DASH, "\u2013 ".encode())),
        ("half of the dash", GOOD.replace(DASH, DASH[1:])),
        ("two spaces after the dash", GOOD.replace(DASH, DASH + b" ")),
        ("a tab before the signature", GOOD.replace(b" " + SIGNATURE, b"\t" + SIGNATURE)),
        ("a NUL in the text", GOOD.replace(b"\n7\n", b"\n7\n\x00")),
        ("longer than any note", signed(rest=b"x" * 1000 + b"\n")),
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    example, text, hint, signature = parse_checkpoint(C2SP_EXAMPLE.encode())
    accepted = []
    for checkpoint in CHECKPOINTS:
        note = sign_checkpoint(LOG, checkpoint)
        if verify_checkpoint(note, checkpoint.log_name, LOG.public_key) != checkpoint:
            raise ValueError("a good note is refused")
        accepted.append({"checkpoint": checkpoint, "note": note.decode()})
    content = {
        "origin": ORIGIN,
        "log_name": LOG_NAME,
        "seed": seed_of("log"),
        "public_key": LOG.public_key,
        "key_id": key_id(LOG_NAME, LOG.public_key),
        "vkey": vkey(LOG_NAME, LOG.public_key),
        "go_example": GO_EXAMPLE,
        "c2sp_example": {"note": C2SP_EXAMPLE, "checkpoint": example, "key_id": hint, "signature": signature},
        "accepted": accepted,
        "refused": [
            {"why": why, "note": note, "code": refusal_of(verify_checkpoint, note, LOG_NAME, LOG.public_key)}
            for why, note in (*refused_lines(), *refused_names_and_keys(), *refused_forms())
        ],
    }
    if text.decode() != C2SP_EXAMPLE.partition("\n\n")[0] + "\n":
        raise ValueError("the signed text is another")
    return {"checkpoint.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
