"""The numbers in a query string, and nothing else in it.

Knows nothing of what they count. A name that nobody asked for is refused, so that no token ever travels in a URL
unnoticed; so are a name twice, a number in another spelling, and escapes, of which numbers need none.
"""

from quart import request

from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.json_text import parse_decimal

_LIMIT = 1 << 64


def read_query(**defaults: int | None) -> dict[str, int]:
    """The request's numbers by name, each below 2**64. A default of None: the number must be given. Raises Rejected."""
    given: dict[str, int] = {}
    text = request.query_string.decode("latin-1")
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        if name not in defaults or name in given:
            known = ", ".join(defaults) or "nothing"
            raise Rejected(f"this query string may hold, once each: {known}", code="bad-query")
        try:
            given[name] = parse_decimal(value)
        except DecodeError as error:
            raise Rejected(f"{name} in the query string: {error.detail}", code="bad-query") from None
        if given[name] >= _LIMIT:
            raise Rejected(f"{name} in the query string: not below 2**64", code="bad-query")
    numbers: dict[str, int] = {}
    for name, default in defaults.items():
        number = given.get(name, default)
        if number is None:
            raise Rejected(f"{name} is missing in the query string", code="bad-query")
        numbers[name] = number
    return numbers
