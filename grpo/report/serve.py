"""A run's page while it goes on, at a loopback address: only this machine can ask for it."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from grpo.errors import GrpoError, UserError
from grpo.report.page import embedded, page, run_data
from grpo.report.read import read_run
from grpo.report.samples import read_step, step_files

ADDRESS = "127.0.0.1"
PORT = 8765
KINDS = {"html": "text/html; charset=utf-8", "json": "application/json", "text": "text/plain; charset=utf-8"}


class Server(ThreadingHTTPServer):
    """Answers `/` with the page, `/data.json` with the run as it is, `/samples/N.json` with a step's samples.

    Args:
        folder: of the run.
        port: 0 takes a free one.

    Raises:
        UserError: it is no run's folder, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        live_data(folder)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            what = f"cannot be used: {getattr(error, 'strerror', None) or error}"
            raise UserError(what, f"port {port}", "Name another with --port, or 0 for a free one") from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"


def live_data(folder: Path) -> dict[str, Any]:
    """What the live page shows: as in a report, with the numbers of the steps that have samples."""
    return run_data(read_run(folder)) | {"live": True, "samples": sorted(step_files(folder))}


def state_of(folder: Path) -> str:
    """Changes when there is something new to show."""
    parts = []
    for name in ("metrics.jsonl", "summary.json", "recipe.yaml", "samples"):
        try:
            found = (folder / name).stat()
            parts.append(f"{found.st_ino:x}.{found.st_size:x}.{found.st_mtime_ns:x}")
        except OSError:
            parts.append("")
    return f'"{"-".join(parts)}"'


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "grpo"
    sys_version = ""

    def do_GET(self) -> None:
        # A page of another site may have its name lead here, so the name asked for must be this machine's.
        if self.headers.get("Host") not in {
            f"{host}:{self.server.server_port}" for host in (ADDRESS, "localhost")
        }:
            self._answer(403, "text", "Ask for 127.0.0.1")
            return
        try:
            self._route(self.path.partition("?")[0])
        except GrpoError as error:
            self._answer(500, "text", str(error))

    def _route(self, path: str) -> None:
        folder = self.server.folder
        sample = re.fullmatch(r"/samples/(\d{1,9})\.json", path)
        if path == "/":
            data = live_data(folder)
            self._answer(200, "html", page(data["name"], data))
        elif path == "/data.json":
            tag = state_of(folder)
            if self.headers.get("If-None-Match") == tag:
                self._answer(304, "json", "", tag)
            else:
                self._answer(200, "json", embedded(live_data(folder)), tag)
        elif sample and (file := step_files(folder).get(int(sample[1]))):
            self._answer(200, "json", embedded(read_step(file).to_json()))
        else:
            self._answer(404, "text", "There is no such page")

    def _answer(self, code: int, kind: str, text: str, tag: str = "") -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.send_response(code)
        self.send_header("Content-Type", KINDS[kind])
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal shows the address."""
