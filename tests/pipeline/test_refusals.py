"""What a provider refuses to start from, each with an error that says what to do; and nothing is signed then.

Knows nothing of damage inside the state: that is in `test_damage`.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from noise.cli import main
from noise.keys import HighWater, KeyRing
from noise.node import Layout, create_node, open_node
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import format_id
from tests.e2e.provider_process import ProviderProcess, run_noise
from tests.pipeline.harness import Answers, options, running, workload

N_KEYS = 6  # inbox, router, receiver, outbox, sequencer, log


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provider that has served, and stopped. To be copied."""
    data = tmp_path_factory.mktemp("served") / "data"
    trio.run(serve, data)
    return data


async def serve(data: Path, seed: int = 1) -> None:
    with trio.fail_after(20):
        async with running(options(data, "parallel", 1, 1)) as node:
            answers = Answers()
            for n, bundle in enumerate(workload(node.origin, seed, 3, 3)):
                await answers.submit(node, n, bundle.encode())
            await answers.wait_shown(node, 3)


@pytest.fixture
def data(served: Path, tmp_path: Path) -> Path:
    return shutil.copytree(served, tmp_path / "data")


def start(data: Path, inboxes: int | None = None) -> None:
    """Serve, for a moment."""

    async def run() -> None:
        with trio.fail_after(20):
            async with open_node(options(data, "parallel", inboxes, None)):
                pass

    trio.run(run)


def refuse(data: Path, code: str, *words: str, inboxes: int | None = None) -> None:
    """It does not start, says why, and has written nothing to the state."""
    before = dump(data)
    with pytest.raises(NoiseError) as caught:
        start(data, inboxes)
    assert caught.value.code == code, caught.value
    for word in words:
        assert word in caught.value.detail
    assert dump(data) == before


def dump(data: Path) -> list[str]:
    """All rows of the state, if it is there."""
    database = Layout(data).database
    if not database.exists():
        return []
    connection = sqlite3.connect(database)
    try:
        return list(connection.iterdump())
    except sqlite3.DatabaseError:
        return [database.read_bytes().hex()]
    finally:
        connection.close()


def test_it_starts(data: Path) -> None:
    start(data)
    start(data, inboxes=2)


def test_no_provider_at_all(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", "no-provider", "noise init")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "no-provider", "noise init")


def test_the_state_is_missing(data: Path) -> None:
    """Keys without state: an empty state would be signed over what is out."""
    database = Layout(data).database
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    refuse(data, "store-missing", "put the newest one back")
    shutil.rmtree(database.parent)
    refuse(data, "store-missing", "put the newest one back")
    assert not database.parent.exists()


def test_the_state_of_another_provider(data: Path, tmp_path: Path) -> None:
    trio.run(serve, tmp_path / "other")
    shutil.rmtree(data / "state")
    shutil.copytree(tmp_path / "other" / "state", data / "state")
    refuse(data, "store-foreign", "check the path and the root key")


def test_an_older_copy_of_the_state(data: Path) -> None:
    """It is sound in itself; only the mark beside the keys knows better."""
    shutil.copytree(data / "state", data.parent / "older")
    trio.run(serve, data, 2)
    newer = shutil.copytree(data / "state", data.parent / "newer")
    shutil.rmtree(data / "state")
    shutil.copytree(data.parent / "older", data / "state")
    refuse(data, "state-behind", "old copy", "newest state")
    refuse(data, "state-behind", "old copy", inboxes=2)
    shutil.rmtree(data / "state")
    shutil.copytree(newer, data / "state")
    start(data)


def test_an_older_copy_after_kill_9(tmp_path: Path) -> None:
    """The mark survives a process that is killed; and a second process is refused while the first one serves."""
    data = tmp_path / "data"
    assert run_noise("init", "--data", str(data)).returncode == 0
    process = ProviderProcess(data, "--idle-ms", "10")
    process.start()
    try:
        second = run_noise("serve", "--data", str(data), "--bind", "127.0.0.1:0")
        assert second.returncode == 1
        assert "store-locked" in second.stderr
        assert "stop that one first" in second.stderr
        fsck = run_noise("fsck", "--data", str(data))
        assert (fsck.returncode, "store-locked" in fsck.stderr) == (1, True)
        database = Layout(data).database
        source, copy = sqlite3.connect(database), sqlite3.connect(tmp_path / "copy.db")
        epochs = source.execute("SELECT count(*) FROM epochs").fetchone()[0]
        source.backup(copy)
        copy.close()
        while source.execute("SELECT count(*) FROM epochs").fetchone()[0] < epochs + 5:
            pass
        source.close()
    finally:
        process.kill()
    assert run_noise("fsck", "--data", str(data)).returncode == 0
    database.with_name("noise.db-wal").unlink(missing_ok=True)
    database.with_name("noise.db-shm").unlink(missing_ok=True)
    database.write_bytes((tmp_path / "copy.db").read_bytes())
    refuse(data, "state-behind", "old copy")


def keys_of(data: Path) -> list[Path]:
    found = sorted(path for path in (data / "keys").glob("*.pem") if path.stem != "root")
    assert len(found) == N_KEYS
    return found


@pytest.mark.parametrize("number", range(N_KEYS))
def test_keys(data: Path, number: int) -> None:
    """Missing, damaged in many ways, or another actor's: refused before anything is signed."""
    path = keys_of(data)[number]
    pem = path.read_bytes()
    path.unlink()
    refuse(data, "key-missing", path.name, "restore it")
    path.write_bytes(keys_of_all(data, path)[0])
    refuse(data, "key-foreign", path.stem.split(".")[0])
    for wrong in (b"", b"x", pem[:-30], pem[40:], pem.replace(b"PRIVATE", b"PUBLIC"), b"\xff" * 200, pem[::-1]):
        path.write_bytes(wrong)
        refuse(data, "key-damaged", path.name)
    path.write_bytes(pem)
    start(data)


def keys_of_all(data: Path, but: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((data / "keys").glob("*.pem")) if path != but and path.stem != "root"]


def test_every_bit_of_a_key(tmp_path: Path) -> None:
    """A flipped bit makes it unreadable, or another key, or changes nothing that counts."""
    ring = KeyRing(tmp_path)
    key = ring.create("a").public_key
    path = tmp_path / "a.pem"
    pem, n_read = path.read_bytes(), 0
    for at in range(len(pem)):
        for bit in range(8):
            path.write_bytes(pem[:at] + bytes([pem[at] ^ 1 << bit]) + pem[at + 1 :])
            try:
                n_read += ring.load("a").public_key != key
            except NoiseError as error:
                assert error.code == "key-damaged"
    assert n_read > 100


def test_keys_of_other_kinds(data: Path) -> None:
    path = keys_of(data)[0]
    for key in (
        ec.generate_private_key(ec.SECP256R1()),
        ed448.Ed448PrivateKey.generate(),
        x25519.X25519PrivateKey.generate(),
    ):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        refuse(data, "key-damaged", "Ed25519")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    refuse(data, "key-damaged", path.name)


def test_the_root_key_is_needed_for_a_new_roster_only(data: Path, tmp_path: Path) -> None:
    root = data / "keys" / "root.pem"
    pem = root.read_bytes()
    root.unlink()
    start(data)
    refuse(data, "key-missing", "root.pem", inboxes=2)
    assert len(keys_of(data)) == N_KEYS
    root.write_bytes(keys_of(data)[0].read_bytes())
    before = dump(data)
    with pytest.raises(NoiseError) as caught:
        start(data, inboxes=2)
    assert caught.value.code == "key-foreign"
    assert dump(data) == before, "a roster that nobody believes would have made the state useless"
    start(data)
    root.write_bytes(pem)
    start(data, inboxes=2)


def test_the_name_of_the_provider(data: Path, tmp_path: Path) -> None:
    path = data / "keys" / "origin"
    text = path.read_text()
    path.unlink()
    refuse(data, "key-missing", "noise init printed")
    for wrong in ("", "x", text[:-3], text + "\n", text.swapcase()[:20], "\udcff"):
        path.write_bytes(wrong.encode("utf-8", "surrogateescape"))
        refuse(data, "key-damaged", "noise init printed")
    path.write_text(format_id(bytes(32)) + "\n")
    refuse(data, "store-foreign")


def test_the_high_water_mark(data: Path) -> None:
    """Missing or damaged, it is not made again in silence."""
    path = data / "keys" / "high-water"
    mark = path.read_bytes()
    path.unlink()
    refuse(data, "key-missing", "restore it", "--renew-mark")
    assert not path.exists()
    for wrong in (b"", mark[:-1], mark + b"0", mark[::-1], bytes(60), mark.replace(b"0", b"9"), b"\xff" * 60):
        path.write_bytes(wrong)
        refuse(data, "key-damaged", "restore it", "--renew-mark")
    for at in range(len(mark)):
        path.write_bytes(mark[:at] + bytes([mark[at] ^ 1]) + mark[at + 1 :])
        refuse(data, "key-damaged")
    path.write_bytes(mark)
    start(data)


def test_the_mark_after_a_loss_of_power(data: Path) -> None:
    """It may be behind the state, which is then taken for what it is."""
    path = data / "keys" / "high-water"
    mark = path.read_bytes()
    trio.run(serve, data, 2)
    newer = path.read_bytes()
    assert newer > mark
    path.write_bytes(mark)
    start(data)
    assert path.read_bytes() >= newer


def test_marks(tmp_path: Path) -> None:
    """Forward only, each half for itself; and what was written is what is known in the next life."""
    mark = HighWater(tmp_path)
    mark.create()
    for sealed, committed in ((0, 0), (1, 0), (1, 1), (7, 6), (7, 7)):
        mark = HighWater(tmp_path)
        mark.open(sealed, committed)
        mark.close()
    for sealed, committed in ((6, 6), (7, 6), (6, 7), (0, 0)):
        with pytest.raises(NoiseError) as caught:
            HighWater(tmp_path).open(sealed, committed)
        assert caught.value.code == "state-behind"
    mark = HighWater(tmp_path)
    mark.open(7, 7)
    mark.sealed(9)
    mark.committed(8)
    mark.sealed(8)
    mark.close()
    with pytest.raises(NoiseError):
        HighWater(tmp_path).open(8, 8)
    HighWater(tmp_path).open(9, 8)
    with pytest.raises(FileExistsError):
        HighWater(tmp_path).create()
    with pytest.raises(RuntimeError):
        HighWater(tmp_path).sealed(1)


def test_init_refuses_what_is_used(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is left of a provider is worth more than a new one."""
    (tmp_path / "keys only" / "keys").mkdir(parents=True)
    (tmp_path / "state only" / "state").mkdir(parents=True)
    (tmp_path / "a file").write_text("")
    for directory, code in (
        (data, "data-exists"),
        (tmp_path / "keys only", "data-exists"),
        (tmp_path / "state only", "data-exists"),
        (tmp_path / "a file", "data-unusable"),
    ):
        before = sorted((path, path.read_bytes() if path.is_file() else b"") for path in directory.rglob("*"))
        assert main(["init", "--data", str(directory)]) == 1
        assert code in capsys.readouterr().err
        assert sorted((path, path.read_bytes() if path.is_file() else b"") for path in directory.rglob("*")) == before
    assert main(["init", "--data", str(tmp_path / "a" / "new" / "one")]) == 0
    assert trio.run(create_node, tmp_path / "another") != bytes(32)


def test_files_are_for_their_owner_only(data: Path) -> None:
    for path in (
        data / "keys",
        data / "state",
        data / "state" / "noise.db",
        *keys_of(data),
        data / "keys" / "high-water",
    ):
        assert path.stat().st_mode & 0o077 == 0, path
