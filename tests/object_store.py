"""A real S3 server on the loopback (moto's), and a proxy before it that fails as networks and stores do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'


@dataclass
class Trouble:
    """What the proxy does to requests, in turn: every ``every``-th of a method fails in the next of ``ways``.

    Attributes:
        every: 1 fails all.
        ways: of "drop" (no answer), "busy" (503), "cut" (half of the body).
        methods: to which this happens.
        done: how many requests failed, by way.
    """

    every: int
    ways: tuple[str, ...] = ("drop", "busy", "cut")
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST")


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.trouble: Trouble | None = None
        self.seen = 0
        self.failed: list[str] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()

    def way(self, method: str) -> str | None:
        """How this request fails, if it does."""
        with self.lock:
            if self.trouble is None or method not in self.trouble.methods:
                return None
            self.seen += 1
            if self.seen % self.trouble.every:
                return None
            way = self.trouble.ways[len(self.failed) % len(self.trouble.ways)]
            self.failed.append(way)
            return way

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *arguments: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        way = self.server.way(self.command)
        if way == "drop":
            self.close_connection = True
            return
        if way == "busy":
            self._send(503, [("Content-Type", "application/xml")], BUSY)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        self._send(answer.status, answer.getheaders(), content, cut=way == "cut")
        upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True


@contextmanager
def faulty_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """An S3 server with the bucket ``faces`` behind a proxy, to which this process and its children are led."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    pytest.importorskip("s3fs")
    server.start()
    _, port = server.get_host_and_port()
    reset = http.client.HTTPConnection("127.0.0.1", port, timeout=300)  # its content is the process's
    reset.request("POST", "/moto-api/reset")
    reset.getresponse().read()
    reset.close()
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}"),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    _forget_clients()
    try:
        import s3fs

        s3fs.S3FileSystem().mkdir("faces")
        yield proxy
    finally:
        proxy.trouble = None
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        server.stop()
        _forget_clients()


def _forget_clients() -> None:
    """Clients keep the address of the server that they were made for."""
    import s3fs

    from frl import store

    s3fs.S3FileSystem.clear_instance_cache()
    store._of_protocol.cache_clear()
