"""The golden vectors, computed once more by hand: SHA-256, concatenation and fixed widths, nothing of the package.

What stands here is the protocol in its shortest form. A port to another language may begin with it.
"""

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DIRECTORY = Path(__file__).parent


def stored(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text("utf-8"))


def h(label: str, message: bytes) -> bytes:
    return sha256(sha256(b"noise-seq/1/h/" + label.encode()).digest() + message).digest()


def u(size_bits: int, number: int | str) -> bytes:
    return int(number).to_bytes(size_bits // 8, "big")


def x(text: str) -> bytes:
    return bytes.fromhex(text)


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def root(leaf_hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if not leaf_hashes:
        return sha256(b"").digest()
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    k = 1
    while 2 * k < len(leaf_hashes):
        k *= 2
    return sha256(b"\x01" + root(leaf_hashes[:k]) + root(leaf_hashes[k:])).digest()


def leaf(record_type: int, content: bytes) -> bytes:
    return sha256(b"\x00" + u(16, record_type) + content).digest()


def signed_input(label: str, origin: bytes, body: bytes) -> bytes:
    return sha256(b"noise-seq/1/sig/" + label.encode()).digest() + origin + u(32, len(body)) + body


def test_tags() -> None:
    tags = stored("tags.json")
    for label, case in tags["hashes"].items():
        assert case["tag"] == sha256(f"noise-seq/1/h/{label}".encode()).hexdigest()
        assert case["hash_of_abc"] == h(label, b"abc").hex()
    for label, case in tags["signatures"].items():
        assert case["tag"] == sha256(f"noise-seq/1/sig/{label}".encode()).hexdigest()
    numbers = [*tags["record_types"].values(), *tags["leaf_types"].values()]
    assert len(set(numbers)) == len(numbers)


def test_identifiers() -> None:
    vectors = stored("identifiers.json")
    for case in vectors["devices"]:
        device_id = h("device", u(16, 1) + x(case["public_key"]))
        assert case["device_id"] == device_id.hex()
        assert unb64(case["text"]) == device_id
    for case in vectors["origins"]:
        origin = h("origin", u(16, 1) + x(case["root_public_key"]))
        assert case["origin"] == origin.hex()
        assert case["log_name"] == "noise-seq/" + base64.urlsafe_b64encode(origin).decode().rstrip("=")
    for case in vectors["actors"]:
        assert case["encoded"] == (u(8, case["role"]) + u(16, case["shard"]) + u(16, case["number"])).hex()
    for case in vectors["seqs"]:
        assert case["seq"] == (u(64, case["epoch"]) + u(16, case["lane"]) + u(48, case["pos"])).hex()


def test_placement() -> None:
    vectors = stored("placement.json")
    for name, numbers in vectors["numbers_among_1_to_8_outboxes"].items():
        device_id = x(vectors["device_ids"][name])
        for count, number in enumerate(numbers, 1):
            weights = [sha256(b"\x04\x00\x00" + u(16, n) + device_id).digest() for n in range(count)]
            assert number == weights.index(max(weights))
        actors = {sha256(x(actor) + device_id).digest(): actor for actor in vectors["sharded_actors"]}
        assert vectors["actors_among_sharded"][name] == actors[max(actors)]


def test_signatures() -> None:
    vectors = stored("signing.json")
    key = Ed25519PrivateKey.from_private_bytes(x(vectors["seed"]))
    assert vectors["seed"] == sha256(b"noise test key alice").hexdigest()
    for case in vectors["inputs"]:
        message = signed_input(case["label"], x(case["origin"]), x(case["body"]))
        assert case["input"] == message.hex()
        assert case["signature"] == key.sign(message).hex()


def test_checkpoints() -> None:
    vectors = stored("checkpoint.json")
    key = Ed25519PrivateKey.from_private_bytes(x(vectors["seed"]))
    for case in vectors["accepted"]:
        name, size, tree_root = case["checkpoint"].values()
        text = f"{name}\n{size}\n{base64.b64encode(x(tree_root)).decode()}\n"
        hint = sha256(name.encode() + b"\n\x01" + x(vectors["public_key"])).digest()[:4]
        line = base64.b64encode(hint + key.sign(text.encode())).decode()
        assert case["note"] == f"{text}\n\u2014 {name} {line}\n"


def test_recipients() -> None:
    vectors = stored("envelope.json")
    for case in [*vectors["sets"], *vectors["recipients"]]:
        env_salt, ids = x(case["env_salt"]), [x(device_id) for device_id in case["device_ids"]]
        assert ids == sorted(set(ids))
        salts = [h("rsalt", env_salt + device_id)[:16] for device_id in ids]
        hashes = [h("rcpt", salt + device_id) for salt, device_id in zip(salts, ids, strict=True)]
        leaves = [leaf(16, recipient) for recipient in hashes]
        assert case["root"] == root(leaves).hex()
        for name, values in (("salts", salts), ("hashes", hashes), ("leaf_hashes", leaves)):
            assert case.get(name, [value.hex() for value in values]) == [value.hex() for value in values]


def test_a_bundle() -> None:
    vectors = stored("envelope.json")
    bundle, origin = vectors["bundle"], x(vectors["origin"])
    key = Ed25519PrivateKey.from_private_bytes(x(vectors["seed"]))
    public_key = key.public_key().public_bytes_raw()
    sender = h("device", u(16, 1) + public_key)
    env_hashes, rows, commons, ciphertexts = [], [], [], []
    for i, message in enumerate(vectors["messages"]):
        members = vectors["sets"][message["set_index"]]
        own, common, shown = [x(part) for part in message["ciphertexts"]], x(message["common"]), message["envelope"]
        assert len(own) in (0, len(members["device_ids"]))
        ciphertexts_root = root([leaf(18, h("ct", part)) for part in own])
        envelope = b"".join(
            (
                *(u(16, 1), sender, u(64, 7 + i), x(members["root"]), u(16, len(members["device_ids"]))),
                *(u(32, len(common)), h("payload", common), u(16, len(own)), ciphertexts_root),
                u(64, shown["created_ms"]),
            )
        )
        assert message["encoded"] == envelope.hex()
        env_hashes.append(h("env", envelope))
        assert message["env_hash"] == env_hashes[-1].hex()
        assert message["leaf_hash"] == leaf(17, env_hashes[-1]).hex()
        commons.append(common)
        ciphertexts += own
        row = u(16, message["set_index"]) + u(64, shown["created_ms"]) + u(32, len(common))
        rows.append(row + u(16, len(own[0]) if own else 0))
    header = u(16, 2) + origin + sender + public_key + u(64, 7) + u(16, len(rows))
    header += root([leaf(17, env_hash) for env_hash in env_hashes])
    assert bundle["body"] == header.hex()
    assert bundle["bundle_hash"] == h("bundle", header).hex()
    assert bundle["signature_input"] == signed_input("bundle", origin, header).hex()
    signature = key.sign(signed_input("bundle", origin, header))
    sets = [
        x(s["env_salt"]) + u(32, len(s["device_ids"])) + b"".join(x(i) for i in s["device_ids"])
        for s in vectors["sets"]
    ]
    columns = [u(32, len(b"".join(column))) + b"".join(column) for column in (commons, ciphertexts)]
    wire = origin + public_key + u(64, 7) + signature
    wire += u(32, len(sets)) + b"".join(sets) + u(32, len(rows)) + b"".join(rows) + b"".join(columns)
    assert bundle["encoded"] == wire.hex()


def test_statements() -> None:
    vectors = stored("statements.json")
    origin, messages = x(vectors["origin"]), stored("envelope.json")
    bundle = messages["bundle"]
    leaves = []
    for i, case in enumerate(vectors["message_leaves"]):
        message = messages["messages"][i]
        members, envelope = messages["sets"][message["set_index"]], x(message["encoded"])
        encoded = b"".join(
            (
                *(u(16, 3), u(128, i), envelope[2:34], u(64, 7 + i), x(message["env_hash"])),
                *(x(bundle["bundle_hash"]), u(16, len(members["device_ids"])), x(members["root"])),
                *(envelope[80:112], envelope[114:146]),
            )
        )
        assert case["encoded"] == encoded.hex()
        leaves.append(sha256(b"\x00" + encoded).digest())
    manifest, _, _, head, opened = vectors["statements"][:5]
    assert x(manifest["body"])[-68:-32] == u(32, 5)[:4] + root(leaves)
    hashes = []
    for case in vectors["statements"]:
        body, label = x(case["body"]), case["label"]
        assert case["hash"] == h(label, body).hex()
        seed = sha256(f"noise test key {'sequencer' if label == 'open' else case['signer']}".encode()).digest()
        key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        key.verify(x(case["signature"]), signed_input(label, origin, body))
        hashes.append(leaf(19, body[34:39] + h(label, body)))
    assert x(head["body"])[2:34] == x(opened["body"])[2:34] == origin
    record_hashes: list[bytes] = []
    for case in vectors["epoch_records"]:
        encoded = x(case["encoded"])
        assert encoded[10:42] == root(record_hashes)
        record_hashes.append(sha256(b"\x00" + encoded).digest())
        assert base64.b64encode(root(record_hashes)).decode() in case["note"]
    assert x(vectors["epoch_records"][0]["encoded"])[118:150] == root(hashes[:5])
    roster = vectors["roster"]
    assert roster["hash"] == h("roster", x(roster["body"])).hex()
    root_key = Ed25519PrivateKey.from_private_bytes(x(vectors["seeds"]["root"])).public_key()
    assert h("origin", u(16, 1) + root_key.public_bytes_raw()) == origin
    root_key.verify(x(roster["signature"]), signed_input("roster", origin, x(roster["body"])))


def sheet_items(cases: list[dict[str, Any]], leaves: dict[str, bytes]) -> list[bytes]:
    """The leaves of a sheet's items, from the message leaves by seq."""
    hashes = []
    for case in cases:
        item, messages = case["item"], [sha256(b"\x00" + leaves[seq]).digest() for seq in case["seqs"]]
        assert case["seqs"] == sorted(set(case["seqs"]))
        assert (item["n_messages"], item["delta_root"]) == (len(messages), root(messages).hex())
        hashes.append(leaf(21, x(item["mailbox"]) + u(32, len(messages)) + root(messages)))
        assert case["leaf_hash"] == hashes[-1].hex()
    assert [c["item"]["mailbox"] for c in cases] == sorted(c["item"]["mailbox"] for c in cases)
    return hashes


def test_sheets() -> None:
    vectors = stored("sheets.json")
    origin, roster_hash = x(vectors["origin"]), x(vectors["roster"]["hash"])
    assert h("roster", x(vectors["roster"]["body"])) == roster_hash
    leaves = {encoded[4:36]: x(encoded) for encoded in vectors["message_leaves"]}
    previous: dict[str, bytes] = {}
    for epoch in vectors["epochs"]:
        inputs = []
        for case in epoch["route_sheets"]:
            entries = []
            for number, entry in enumerate(case["entries"]):
                items = sheet_items(entry["items"], leaves)
                entries.append(leaf(22, b"\x04\0\0" + u(16, number) + u(32, len(items)) + root(items)))
                assert entry["leaf_hash"] == entries[-1].hex()
            body = u(16, 13) + origin + unb64(case["fields"]["actor"]) + u(32, 0) + u(64, epoch["epoch"])
            body += roster_hash + u(16, case["fields"]["lane"]) + h("manifest", x(case["manifest"])) + u(16, 3)
            body += root(entries) + previous.get(case["signer"], bytes(32))
            inputs.append(check_sheet(case, "route", origin, body))
            previous[case["signer"]] = inputs[-1]
        for number, case in enumerate(epoch["merge_sheets"]):
            items = sheet_items(case["items"], leaves)
            body = u(16, 14) + origin + b"\x03\0\0" + u(16, number) + u(32, 0) + u(64, epoch["epoch"]) + roster_hash
            body += u(32, len(inputs)) + b"".join(inputs) + u(32, len(items)) + root(items)
            body += previous.get(case["signer"], bytes(32))
            previous[case["signer"]] = check_sheet(case, "merge", origin, body)


def check_sheet(case: dict[str, Any], label: str, origin: bytes, body: bytes) -> bytes:
    """It is signed as it should be; its hash."""
    key = Ed25519PrivateKey.from_private_bytes(sha256(f"noise test key {case['signer']}".encode()).digest())
    assert case["label"] == label
    assert case["encoded"] == (u(16, len(body)) + body + key.sign(signed_input(label, origin, body))).hex()
    assert case["hash"] == h(label, body).hex()
    return h(label, body)


def test_challenges() -> None:
    vectors = stored("challenges.json")
    empty = vectors["no_challenges"]
    keys = []
    for case in vectors["challenges"]:
        fields = case["fields"]
        encoded = u(16, 28) + unb64(fields["origin"]) + unb64(fields["actor"]) + u(32, fields["incarnation"])
        encoded += u(64, fields["epoch"]) + unb64(fields["seq"]) + unb64(fields["mailbox"])
        assert case["encoded"] == encoded.hex()
        keys.append(h("challenge", encoded).hex())
        assert case["key"] == keys[-1]
    answer_hash = h("challenge", x(vectors["answer"]["bytes"]))
    assert vectors["answer"]["answer_hash"] == answer_hash.hex()
    assert vectors["complaint"]["proof_hash"] == h("complaint", x(vectors["complaint"]["proof"])).hex()
    for case in vectors["maps"]:
        assert [row["key"] for row in case["states"]] == keys[: len(case["states"])]
        assert case["challenges_count"] == len(case["states"])
        assert case["challenges_root"] != empty
        for row in case["states"]:
            assert row["value_hash"] == h("challenge", x(row["state"])).hex()
    still_open = vectors["maps"][0]["states"][0]["state"]
    assert still_open == (u(16, 29) + u(64, 7) + u(64, 107) + b"\xff" * 8 + bytes(32)).hex()
    assert (
        vectors["maps"][2]["states"][0]["state"] == (u(16, 29) + u(64, 7) + u(64, 107) + u(64, 9) + answer_hash).hex()
    )
    key = Ed25519PrivateKey.from_private_bytes(sha256(b"noise test key log").digest())
    receipt = u(16, 30) + unb64(vectors["signed"][0]["fields"]["origin"]) + b"\x06\0\0\0\0" + u(32, 0)
    receipt += x(keys[0]) + u(64, 7)
    signature = key.sign(signed_input("challenge", receipt[2:34], receipt))
    assert vectors["signed"][0]["encoded"] == (u(16, len(receipt)) + receipt + signature).hex()


def test_history() -> None:
    vectors = stored("history.json")
    mailbox = x(vectors["mailbox"])
    assert vectors["map_key"] == h("mapkey", mailbox).hex()
    records: list[bytes] = []
    last_epoch, total, since = u(64, 2**64 - 1), 0, u(64, 5)
    for k, case in enumerate(vectors["records"]):
        epoch, leaves = u(64, case["record"]["epoch"]), [x(value) for value in case["leaf_hashes"]]
        own = [leaf(20, x(item["seq"]) + x(item["hash"])) for item in case["own_ciphertexts"]]
        record = u(16, 9) + mailbox + u(64, k) + epoch + last_epoch + root(records)
        record += u(32, len(leaves)) + root(leaves) + u(32, len(own)) + root(own)
        assert case["encoded"] == record.hex()
        records.append(sha256(b"\x00" + record).digest())
        last_epoch, total = epoch, total + len(leaves)
        state = u(16, 10) + mailbox + u(32, 0) + since + b"\x01\x01" + b"\xff" * 8 + bytes(32)
        state += u(64, k + 1) + root(records) + epoch + x(case["last_seq"]) + u(64, total)
        assert case["state"]["encoded"] == state.hex()
        assert case["state"]["hash"] == h("state", state).hex()


def test_sections_and_frames() -> None:
    """A section's bytes, for the recipient of all messages; and what each frame begins with."""
    messages = stored("envelope.json")
    sections = stored("section.json")
    wire, section = x(sections["bundle"]), x(sections["sections"][0]["encoded"])
    assert wire.hex() == messages["bundle"]["encoded"]
    shared = bytes(16) + wire[32:72] + u(16, len(messages["messages"])) + wire[72:136]  # key, counter; signature
    roots = b"".join(x(members["root"]) for members in messages["sets"])
    assert section.startswith(
        shared + u(32, 0) + u(32, len(messages["sets"])) + roots + u(32, len(messages["messages"]))
    )
    vectors = stored("frames.json")
    for case in vectors["frames"]:
        name = case["type"].removesuffix("Frame").lower()
        assert x(case["encoded"])[0] == vectors["types"][name]
        assert json.loads(case["json"])["type"] == name


def test_every_signature_in_the_story_verifies() -> None:
    """The deltas carry what was signed, verbatim: heads are found in them by their bytes."""
    statements, deltas = stored("statements.json"), stored("delta.json")
    head = next(case for case in statements["statements"] if case["label"] == "head" and case["epoch"] == 1)
    assert head["encoded"] in deltas["deltas"][1]["encoded"]
    seed = x(statements["seeds"][head["signer"]])
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    message = signed_input("head", x(statements["origin"]), x(head["body"]))
    Ed25519PublicKey.from_public_bytes(key).verify(x(head["signature"]), message)
    assert key.hex() in statements["roster"]["body"]
