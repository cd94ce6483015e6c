"""The bytes of every attack on the HTTP face.

Must not know: how the server answers beyond the status that each deserves.
"""

from tests.web.live_http import PUSH_REQUEST

# Ends the process of an unhardened Hypercorn 0.18

H2C = (
    b"GET /hello HTTP/1.1\r\nHost: x\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: %s\r\n\r\n"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_EMPTY_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
H2_CONNECT = b"B\x07CONNECTA\x01x"  # HPACK: a CONNECT without a path
WEBSOCKET = PUSH_REQUEST.replace(b"/v1/push", b"/ws")


def websocket_with(header: bytes) -> bytes:
    return WEBSOCKET[:-2] + header + b"\r\n\r\n"


FATAL = {
    "extensions not ASCII": websocket_with(b"Sec-WebSocket-Extensions: \xff"),
    "subprotocol not ASCII": websocket_with(b"Sec-WebSocket-Protocol: \xff"),
    "bytes before accept": WEBSOCKET + b"\0",
    "h2c settings not base64": H2C % b"A",
    "h2c settings of a wrong length": H2C % b"AAAA",
    "h2c settings out of range": H2C % b"AAX_____",
    "HTTP/2 without asking": H2_PREFACE + H2_EMPTY_SETTINGS + b"\0\0\x0c\1\5\0\0\0\1" + H2_CONNECT,
}

# Attack and status

MALFORMED = {
    "nothing": (b"\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "no version": (b"GET /hello\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /hello HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    "HTTP/2.0": (b"GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "no host": (b"GET /hello HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "empty path": (b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "whole URL": (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "lower case": (b"head /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "header name with a space": (b"GET /hello HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n", 400),
    "header with NUL": (b"GET /hello HTTP/1.1\r\nHost: x\r\na: \0\r\n\r\n", 400),
    "fold at the start": (b"GET /hello HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "length -1": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "length +1": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400),
    "length 1_0": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\na", 400),
    "length of 30 digits": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n" % (b"9" * 30), 400),
    "length of 20 digits": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n" % (b"9" * 20), 413),
    "two lengths": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "chunk size": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk size 0x": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", 400),
    "chunk end": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n", 400),
    "chunk line": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;%s" % bytes(70_000), 431),
    "gzip": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
}

# Bodies of two possible lengths: what a proxy in front takes for a body, we might take for a request

SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
SMUGGLING = {
    "length, then chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "lengths that differ": b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "length list": b"Content-Length: 5, 0\r\n\r\n0\r\n\r\n",
    "bare CR": b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
}
