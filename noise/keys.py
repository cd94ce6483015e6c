"""Private keys in files, one key in one file for one role, and the high-water mark beside the root key.

Knows nothing of what the keys sign. Files are PKCS #8 PEM, readable by their owner only. The high-water mark says how
far these keys have signed: state that is behind it is an old copy, and signing from it would contradict what is out.
"""

import os
import zlib
from pathlib import Path

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.identifiers import Actor, format_id, parse_id
from noise.protocol.signing import Signer

_MARK_BYTES = 60
_RENEW = "Whoever is sure that the state is the newest may run noise fsck --renew-mark instead"


class KeyMissing(NoiseError):
    default_code = "key-missing"


class KeyDamaged(NoiseError):
    default_code = "key-damaged"


class StateBehind(NoiseError):
    """The state is older than what these keys have signed."""

    default_code = "state-behind"


class KeyRing:
    """The keys of a provider: all in one directory, or those of each actor in a directory of its own."""

    def __init__(self, directory: Path, actors: Path | None = None) -> None:
        """`actors`: holds the directories of the actors, named after them; None: their keys lie in `directory` too."""
        self.directory = directory
        self._actors = actors

    def _path(self, name: str) -> Path:
        """Of a key: `root`, or what `actor_key_name` makes."""
        actor, dot, _ = name.partition(".")
        home = self._actors / actor if self._actors and dot else self.directory
        return home / f"{name}.pem"

    def create(self, name: str) -> Signer:
        """Make a new key; never overwrites one."""
        path = self._path(name)
        partial = path.with_suffix(".partial")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)  # whole or not at all, and never over another
        except FileExistsError:
            raise NoiseError(f"{path} exists and is not overwritten", code="key-exists") from None
        finally:
            partial.unlink()
        _sync_directory(path.parent)
        return Signer(key.private_bytes_raw())

    def load(self, name: str) -> Signer:
        """Raises KeyMissing or KeyDamaged."""
        path = self._path(name)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise KeyMissing(f"{path} is missing: restore it from where you keep the keys") from None
        except (ValueError, TypeError, OSError, UnsupportedAlgorithm, InternalError) as error:
            raise KeyDamaged(f"{path} is not an unencrypted PEM key: {error}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyDamaged(f"{path} is not an Ed25519 key")
        return Signer(key.private_bytes_raw())

    def write_origin(self, origin: bytes) -> None:
        """Keep the provider's public name beside its keys, so that the root key can be kept elsewhere."""
        (self.directory / "origin").write_text(format_id(origin) + "\n", encoding="ascii")

    def origin(self) -> bytes:
        """The provider's public name. Raises KeyMissing or KeyDamaged."""
        path = self.directory / "origin"
        try:
            return parse_id(path.read_text(encoding="ascii").removesuffix("\n"))
        except FileNotFoundError:
            raise KeyMissing(f"{path} is missing: it holds the id that noise init printed") from None
        except (DecodeError, UnicodeDecodeError, OSError) as error:
            raise KeyDamaged(f"{path} does not hold the id that noise init printed: {error}") from None

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def delete(self, name: str) -> bool:
        """Whether there was such a key; afterwards there is none. Raises NoiseError when it cannot be deleted."""
        path = self._path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise NoiseError(f"{path} was revoked and cannot be deleted: {error.strerror}", code="key-kept") from None
        _sync_directory(path.parent)
        return True


def actor_key_name(actor: Actor, incarnation: int) -> str:
    """The file name, without its ending, of an actor's key."""
    return f"{actor}.{incarnation}"


class HighWater:
    """How far the keys in this directory have signed: manifests before `sealed`, epochs before `committed`.

    Written after each durable write of the store, without waiting for the disk: it survives the death of the process
    at once, and a loss of power as of the last start or stop. It is never ahead of the store.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "high-water"
        self._file: int | None = None
        self._sealed = 0
        self._committed = 0

    def create(self) -> None:
        """For a new provider: nothing signed yet."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._write()
        self.close()
        _sync_directory(self._path.parent)

    def renew(self) -> None:
        """Forget what was known: the operator vouches that the state at hand is the newest."""
        self._path.unlink(missing_ok=True)
        self.create()

    def open(self, sealed: int, committed: int) -> None:
        """Compare with the state that was found, and go on from there. Raises StateBehind or KeyDamaged."""
        try:
            self._file = os.open(self._path, os.O_RDWR)
            text = os.pread(self._file, _MARK_BYTES + 1, 0)
        except OSError as error:
            raise KeyMissing(
                f"{self._path} cannot be read ({error.strerror}): restore it beside the keys. {_RENEW}"
            ) from None
        try:
            known_sealed, known_committed = self._parse(text)
            if sealed < known_sealed or committed < known_committed:
                raise StateBehind(
                    f"the state ends before epoch {committed}, but these keys have signed up to epoch "
                    f"{max(known_sealed, known_committed)}: it is an old copy. Put the newest state back: "
                    "signing from this one would prove the provider a liar. If there is none, the provider has come to "
                    "its end, for nobody can sign its log again: its clients must move to a new one, with a new origin"
                )
        except NoiseError:
            self.close()
            raise
        self._sealed, self._committed = sealed, committed
        self._write()
        os.fdatasync(self._file)

    def _parse(self, text: bytes) -> tuple[int, int]:
        parts = text.split()
        if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit():
            sealed, committed = int(parts[0]), int(parts[1])
            if text == _mark(sealed, committed):
                return sealed, committed
        raise KeyDamaged(f"{self._path} is damaged: restore it. {_RENEW}")

    def sealed(self, next_epoch: int) -> None:
        """Some manifest before `next_epoch` is durable."""
        if next_epoch > self._sealed:
            self._sealed = next_epoch
            self._write()

    def committed(self, next_epoch: int) -> None:
        """The epochs before `next_epoch` are durable."""
        self._committed = next_epoch
        self._write()

    def _write(self) -> None:
        if self._file is None:
            raise RuntimeError("the high-water mark is not open")
        os.pwrite(self._file, _mark(self._sealed, self._committed), 0)

    def close(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = None


def _mark(sealed: int, committed: int) -> bytes:
    """_MARK_BYTES of text, with a checksum."""
    text = f"{sealed:024d} {committed:023d} ".encode()
    return text + f"{zlib.crc32(text):010d}\n".encode()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
