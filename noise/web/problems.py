"""What a refusal looks like over HTTP: the only table from codes to status numbers, and one form for all errors.

Knows nothing of routes. Whatever goes wrong is answered with `application/problem+json` (RFC 9457): `type` is
"about:blank", so `title` is the status phrase; the member `code` is what programs go by, and `detail` is for a person.
"""

from http import HTTPStatus
from typing import Final

from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.json_text import encode_json
from noise.web.hardened import log_failure

STATUS_OF_CODE: Final = {
    "bad-cursor": HTTPStatus.BAD_REQUEST,
    "bad-proof": HTTPStatus.BAD_REQUEST,
    "bad-query": HTTPStatus.BAD_REQUEST,
    "bad-request": HTTPStatus.BAD_REQUEST,
    "malformed": HTTPStatus.BAD_REQUEST,
    "token-missing": HTTPStatus.UNAUTHORIZED,
    "token-unknown": HTTPStatus.UNAUTHORIZED,
    "bad-key": HTTPStatus.FORBIDDEN,
    "bad-signature": HTTPStatus.FORBIDDEN,
    "foreign-page": HTTPStatus.FORBIDDEN,
    "not-an-auditor": HTTPStatus.FORBIDDEN,
    "proof-expired": HTTPStatus.FORBIDDEN,
    "unknown-challenge": HTTPStatus.FORBIDDEN,
    "wrong-audience": HTTPStatus.FORBIDDEN,
    "wrong-key": HTTPStatus.FORBIDDEN,
    "wrong-nonce": HTTPStatus.FORBIDDEN,
    "wrong-origin": HTTPStatus.FORBIDDEN,
    "not-committed": HTTPStatus.NOT_FOUND,
    "no-prekeys": HTTPStatus.NOT_FOUND,
    "not-found": HTTPStatus.NOT_FOUND,
    "unknown-complaint": HTTPStatus.NOT_FOUND,
    "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "not-acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "request-timeout": HTTPStatus.REQUEST_TIMEOUT,
    "counter-conflict": HTTPStatus.CONFLICT,
    "counter-too-old": HTTPStatus.CONFLICT,
    "cursor-ahead": HTTPStatus.CONFLICT,
    "lying-already": HTTPStatus.CONFLICT,
    "body-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "bundle-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "ciphertext-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "message-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "bundle-count": HTTPStatus.UNPROCESSABLE_ENTITY,
    "custody-ended": HTTPStatus.UNPROCESSABLE_ENTITY,
    "counter-overflow": HTTPStatus.UNPROCESSABLE_ENTITY,
    "duplicate-recipients": HTTPStatus.UNPROCESSABLE_ENTITY,
    "no-recipients": HTTPStatus.UNPROCESSABLE_ENTITY,
    "no-such-liar": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not-asked": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not-proven": HTTPStatus.UNPROCESSABLE_ENTITY,
    "prekey-expired": HTTPStatus.UNPROCESSABLE_ENTITY,
    "prekey-too-long": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rejected": HTTPStatus.UNPROCESSABLE_ENTITY,
    "sender-not-recipient": HTTPStatus.UNPROCESSABLE_ENTITY,
    "challenge-quota": HTTPStatus.INSUFFICIENT_STORAGE,
    "mailbox-quota": HTTPStatus.INSUFFICIENT_STORAGE,
    "prekey-quota": HTTPStatus.INSUFFICIENT_STORAGE,
    "too-many-ciphertexts": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too-many-prekeys": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too-many-recipients": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unknown-lie": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unknown-victim": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unsorted-recipients": HTTPStatus.UNPROCESSABLE_ENTITY,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "slot-reused": HTTPStatus.INTERNAL_SERVER_ERROR,
    "slot-taken": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store-conflict": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store-corrupt": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store-foreign": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store-locked": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store-missing": HTTPStatus.INTERNAL_SERVER_ERROR,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "store-failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every code that may leave this server over HTTP. A code that is missing here is a defect, and answered as one."""

_CODE_OF_STATUS: Final = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_TIMEOUT: "request-timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal",
    HTTPStatus.SERVICE_UNAVAILABLE: "busy",
}
"""The framework's own refusals."""

_HEADERS_OF_STATUS: Final = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "2"},
}
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_FAILURE_DETAIL: Final = "the server failed; its log says where"


def make_problem(code: str, detail: str) -> Response:
    """The response that says so. `code` is one of STATUS_OF_CODE, or becomes "internal"."""
    if code not in STATUS_OF_CODE:
        code, detail = "internal", _FAILURE_DETAIL
    status = STATUS_OF_CODE[code]
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    headers = _HEADERS | _HEADERS_OF_STATUS.get(status, {})
    return Response(encode_json(body), status.value, headers, content_type="application/problem+json")


def problem_of(error: NoiseError) -> Response:
    """What a refusal says, or, of a failure of our own, only that it happened: the rest is for the log."""
    status = STATUS_OF_CODE.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Rejected):
        log_failure("request handler", error)
        return make_problem(error.code, _FAILURE_DETAIL)
    return make_problem(error.code, error.detail)


def problem_of_framework(error: HTTPException) -> Response:
    """The framework's own refusals: no such path or method, a body that is too large or too slow."""
    code = _CODE_OF_STATUS.get(HTTPStatus(error.code or 500), "bad-request")
    response = make_problem(code, error.description or "")
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def problem_of_defect(error: Exception) -> Response:
    """Whatever nobody foresaw."""
    log_failure("request handler", error)
    return make_problem("internal", _FAILURE_DETAIL)


def handle_errors(app: QuartTrio) -> None:
    """Answer every error of an application with a problem."""
    app.register_error_handler(NoiseError, problem_of)
    app.register_error_handler(HTTPException, problem_of_framework)
    app.register_error_handler(Exception, problem_of_defect)
