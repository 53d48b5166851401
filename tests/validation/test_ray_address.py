"""A cluster that is not there is told at once; Ray need not be installed for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import safetext_sdk as st
from safetext_sdk.errors import RunError, UsageError
from safetext_sdk.validation.ray_address import check_address

Serve = Callable[[bytes | None], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A port whose owner says something to whoever comes, or with None holds the line in silence."""
    doors: list[socket.socket] = []
    lines: list[socket.socket] = []

    def answer(door: socket.socket, words: bytes | None) -> None:
        with suppress(OSError):
            while True:
                line, _ = door.accept()
                lines.append(line)
                line.recv(64)
                if words is not None:
                    line.sendall(words)
                    line.close()

    def start(words: bytes | None) -> int:
        door = socket.create_server(("127.0.0.1", 0))
        doors.append(door)
        threading.Thread(target=answer, args=(door, words), daemon=True).start()
        return int(door.getsockname()[1])

    yield start
    for each in (*doors, *lines):
        each.close()


@pytest.fixture
def closed() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    monkeypatch.setattr("safetext_sdk.validation.ray_address._own_name", lambda host: None)


@pytest.mark.parametrize("written", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_nobody_there_is_one_line_at_once(closed: int, written: str) -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match=rf"127\.0\.0\.1 port {closed} does not answer") as told:
        check_address(written.format(closed))
    assert time.monotonic() - began < 5
    assert "\n" not in str(told.value)
    assert told.value.exit_code == 3


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"hm", None])
def test_another_service_is_told_from_a_cluster(serve: Serve, words: bytes | None) -> None:
    with pytest.raises(RunError, match="another service; name the head's port"):
        check_address(f"127.0.0.1:{serve(words)}", wait=0.3)


def test_whoever_speaks_http_2_is_left_to_ray(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]) + b"\0\3\0\0\0\x64"
    check_address(f"ray://127.0.0.1:{serve(settings)}?namespace=w")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    check_address(f"127.0.0.1:{serve(None)}")


def test_the_loopback_address_is_this_machines_own_to_ray(
    serve: Serve, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that listens in its network alone, named from its own machine."""
    asked: list[tuple[str, int]] = []
    made = socket.create_connection

    def connect(place: tuple[str, int], wait: float) -> socket.socket:
        asked.append(place)
        return made(("127.0.0.1", cluster if place[0] == "192.0.2.7" else closed), wait)

    cluster = serve(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    monkeypatch.setattr("safetext_sdk.validation.ray_address._own_name", lambda host: "192.0.2.7")
    monkeypatch.setattr(socket, "create_connection", connect)
    check_address("localhost:6379")
    assert asked == [("localhost", 6379), ("192.0.2.7", 6379)]


@pytest.mark.parametrize("address", ["auto", "local", "anyscale://project"])
def test_what_names_no_port_is_left_to_ray(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("somebody was asked"))
    check_address(address)


def test_auto_is_what_the_environment_says(closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed}")
    with pytest.raises(RunError, match=str(closed)):
        check_address("auto")


@pytest.mark.parametrize("address", ["head", "head:", "head:port", ":6379", "ray://head"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="write auto, local, HOST:PORT"):
        check_address(address)


def test_it_is_told_before_a_model_is_loaded(
    closed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="a plan with a cluster needs Ray")
    monkeypatch.setattr("safetext_sdk.validation.subjects.resolve", lambda *_, **__: pytest.fail("loaded"))
    for call in (st.validate, st.attack):
        arguments = (None, tmp_path) if call is st.validate else (tmp_path, "typos")
        with pytest.raises(RunError, match="no Ray cluster"):
            call(*arguments, ray=f"127.0.0.1:{closed}")  # type: ignore[operator]
