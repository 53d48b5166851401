"""Whether anything that could be a Ray cluster answers at an address, told in seconds.

Ray itself waits: given an address where nobody listens, `ray.init` (2.60) tries twenty times for forty
seconds each, a quarter of an hour. So the port is asked first, with nothing but the standard library. Both
services that one may name, the head's own (6379) and the one for clients (10001), speak gRPC, which is
HTTP/2: whoever does not open with a SETTINGS frame (RFC 9113, section 3.4) is another service, the dashboard
for example.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..errors import RunError, UsageError

WAIT = 10.0
"""Seconds for a connection, and again for the first answer."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 opens with: the preface and an empty SETTINGS frame."""
_HEADER, _TYPE, _SETTINGS = 9, 3, 4


def check_address(address: str, wait: float = WAIT) -> None:
    """Ask the port that an address names. ``auto`` (without ``$RAY_ADDRESS``), ``local`` and addresses of
    other kinds name none, and are left to Ray.

    Args:
        address: as `ray.init` takes it.
        wait: seconds, see `WAIT`.

    Raises:
        UsageError: an address without a port.
        RunError: nobody answers there, or somebody who does not speak gRPC.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    if address in ("auto", "local") or ("://" in address and not address.startswith("ray://")):
        return
    host, port = _place(address)
    try:
        answer = _answer(host, port, wait)
    except OSError as error:
        raise RunError(
            f"no Ray cluster at {address!r}: {host} port {port} does not answer ({error})"
        ) from error
    if answer is not None and (len(answer) <= _TYPE or answer[_TYPE] != _SETTINGS):
        raise RunError(
            f"no Ray cluster at {address!r}: what listens on port {port} is another service; name the head's "
            "port (6379 unless it was started with another) or, with ray://, that for clients (10001)"
        )


def _place(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"--ray {address!r}: write auto, local, HOST:PORT or ray://HOST:PORT")
    return host, port


def _answer(host: str, port: int, wait: float) -> bytes | None:
    """The first bytes of whoever listens; empty if it says nothing; None where only TLS would be answered.

    Raises:
        OSError: no connection.
    """
    with _connected(host, port, wait) as line:
        if os.environ.get("RAY_USE_TLS", "0").lower() not in ("0", "", "false"):
            return None
        heard = b""
        with suppress(OSError):  # silent, or hung up
            line.sendall(_HELLO)
            while len(heard) < _HEADER and (more := line.recv(_HEADER - len(heard))):
                heard += more
        return heard


def _connected(host: str, port: int, wait: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), wait)
    except OSError:
        own = _own_name(host)
        if own is None:
            raise
        return socket.create_connection((own, port), wait)


def _own_name(host: str) -> str | None:
    """What Ray takes the loopback address for: the one of this machine in its network."""
    with suppress(ValueError):
        if host != "localhost" and not ip_address(host).is_loopback:
            return None
        from ray.util import get_node_ip_address

        return str(get_node_ip_address())
    return None
