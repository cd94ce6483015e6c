"""Hands out challenges, and for a device's proof over one of them a token: to read its own mailbox, or to audit.

Must not know: what a token opens.
"""

from http import HTTPStatus

from quart import Response, request
from quart_trio import QuartTrio

from noise.protocol.encoding import Codec
from noise.protocol.errors import SignatureError
from noise.protocol.frames import (
    AUTH_PROOF,
    CHALLENGE,
    PURPOSE_AUDIT,
    PURPOSE_SESSION,
    SESSION,
    SIGNED_AUTH_PROOF,
    AuthProof,
    ChallengeFrame,
    Session,
    SignedAuthProof,
)
from noise.protocol.limits import CHALLENGE_MS
from noise.web.auth import check_auth
from noise.web.gateway import Gateway
from noise.web.negotiation import Form, answer_encoded, answer_form, body_form, read_encoded
from noise.web.query import read_query
from noise.web.tokens import TOKEN_MS, Challenges, Tokens

_CHALLENGE: Codec[ChallengeFrame] = CHALLENGE
_SESSION: Codec[Session] = SESSION
_SIGNED: Codec[SignedAuthProof] = SIGNED_AUTH_PROOF
_PROOF: Codec[AuthProof] = AUTH_PROOF


class Sessions:
    """Challenges of its own; the tokens are shared with whoever reads by them, and serve there only."""

    def __init__(self, gateway: Gateway, tokens: Tokens, audit_tokens: Tokens) -> None:
        self._gateway = gateway
        self._challenges = Challenges()
        self._tokens = {PURPOSE_SESSION: tokens, PURPOSE_AUDIT: audit_tokens}

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule("/v1/challenges", view_func=self.post_challenge, methods=["POST"])
        app.add_url_rule("/v1/sessions", view_func=self.post_session, methods=["POST"])

    async def post_challenge(self) -> Response:
        """201 and a nonce to sign; the body of the request does not count."""
        read_query()
        form = answer_form(Form.JSON)
        now_ms = self._gateway.time_ms()
        challenge = ChallengeFrame(self._gateway.origin, self._challenges.issue(now_ms), CHALLENGE_MS, now_ms)
        return await answer_encoded(_CHALLENGE, _CHALLENGE.encode(challenge), form, HTTPStatus.CREATED)

    async def post_session(self) -> Response:
        """201 and a token of the proof's purpose, if its audience is one of our hosts.

        Spends the challenge in any case.
        """
        read_query()
        form = answer_form(body_form())
        signed = _SIGNED.decode(await read_encoded(_SIGNED))
        proof = _PROOF.decode(signed.body)
        now_ms = self._gateway.time_ms()
        self._challenges.spend(proof.nonce, now_ms)
        device_id = check_auth(
            signed,
            origin=self._gateway.origin,
            nonce=proof.nonce,
            audiences=self._gateway.audiences(request.headers.get("Host", "")),
            purpose=proof.purpose if proof.purpose in self._tokens else PURPOSE_SESSION,
            now_ms=now_ms,
        )
        if proof.purpose == PURPOSE_AUDIT and device_id not in self._gateway.auditors:
            raise SignatureError("the operator has not named this key as an auditor's", code="not-an-auditor")
        session = Session(self._tokens[proof.purpose].issue(device_id, now_ms), TOKEN_MS)
        return await answer_encoded(_SESSION, _SESSION.encode(session), form, HTTPStatus.CREATED)
