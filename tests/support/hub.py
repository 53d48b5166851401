"""A hub on the loopback interface: the few answers of a model hub that its client needs, for one repository
in a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """``kind``: models or datasets. ``cut``: this file is sent short, its headers claiming that this is all.
    ``drop``: at this file the hub dies in the middle. ``asked``: (method, file) of every request for a file.
    """

    folder: Path
    repo: str = "someone/mini"
    kind: str = "models"
    cut: str = ""
    drop: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    dead: bool = False

    def files(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*") if p.is_file())

    def fetched(self) -> set[str]:
        return {name for method, name in self.asked if method == "GET"}


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(
            self, body: bytes, kind: str = "application/json", status: int = 200, **headers: str
        ) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if hub.dead:
                self.close_connection = True
                return
            path = unquote(urlsplit(self.path).path)
            api = f"/api/{hub.kind}/{hub.repo}"
            files = f"/{hub.repo}" if hub.kind == "models" else f"/{hub.kind}/{hub.repo}"
            if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                names = [{"rfilename": p.relative_to(hub.folder).as_posix()} for p in hub.files()]
                self.answer(
                    json.dumps(
                        {"id": hub.repo, "sha": COMMIT, "siblings": names, "tags": [], "private": False}
                    ).encode()
                )
            elif path.startswith(f"{api}/revision/"):
                self.answer(b'{"error": "Invalid rev id"}', status=404, X_Error_Code="RevisionNotFound")
            elif path in (f"{api}/tree/{COMMIT}", f"{api}/tree/main"):
                rows = [
                    {
                        "type": "file",
                        "path": p.relative_to(hub.folder).as_posix(),
                        "size": p.stat().st_size,
                        "oid": _digest(p),
                    }
                    for p in hub.files()
                ]
                self.answer(json.dumps(rows).encode())
            elif path.startswith((f"{files}/resolve/{COMMIT}/", f"{files}/resolve/main/")):
                self.file(path.removeprefix(f"{files}/resolve/").partition("/")[2])
            else:
                self.answer(b'{"error": "Repository not found"}', status=404, X_Error_Code="RepoNotFound")

        def file(self, name: str) -> None:
            hub.asked.append((self.command, name))
            body = (hub.folder / name).read_bytes()
            headers = {"ETag": f'"{_digest(hub.folder / name)}"', "X_Repo_Commit": COMMIT}
            if name == hub.cut and self.command == "GET":
                body = body[: len(body) // 2]
            if name == hub.drop and self.command == "GET":
                hub.dead = True
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            self.answer(body, "application/octet-stream", **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        hub.dead = True
        server.shutdown()
        server.server_close()


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
