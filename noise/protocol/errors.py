"""Every way in which bytes can be wrong, each with a stable code.

Knows nothing of HTTP, sockets or logging: `noise.web.problems` holds the only table from codes to status numbers.
One family: whatever leaves `noise.protocol` because of its input is a `NoiseError`.
"""

from typing import ClassVar


class NoiseError(Exception):
    """Base of all typed errors. `code` is stable and machine-readable; `detail` is for a person."""

    default_code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code if code is not None else self.default_code

    def __str__(self) -> str:
        return f"{self.detail} [{self.code}]"


class DecodeError(NoiseError):
    """Bytes or JSON that are not the one canonical encoding of anything."""

    default_code = "malformed"


class ProofError(NoiseError):
    """A Merkle, state-map or history proof that does not lead to the signed root."""

    default_code = "bad-proof"


class SignatureError(NoiseError):
    """A signature, or a key, that the strict rules refuse."""

    default_code = "bad-signature"


class Rejected(NoiseError):
    """A well-formed request that acceptance refuses. Nothing of it was kept. The code says why."""

    default_code = "rejected"


class ProviderMisbehaved(NoiseError):
    """The provider sent what an honest provider never sends. `evidence` holds the offending bytes, verbatim.

    The trusted state of whoever raises this is what it was before.
    """

    default_code = "provider-misbehaved"

    def __init__(self, detail: str, *, code: str | None = None, evidence: tuple[bytes, ...] = ()) -> None:
        super().__init__(detail, code=code)
        self.evidence = evidence
