"""A stand-in for a model hub: the part of the Hugging Face Hub's HTTP interface that its client uses for models.

Repositories, preupload and commits, Git LFS's batches with single and multipart uploads, resolution of files with ETag,
X-Repo-Commit, redirects and ranges, and errors with the hub's headers. Everything is in memory, on the loopback.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TOKEN = "hf_stand_in"
LFS_FROM = 1 << 20
"""Bytes from which on the stand-in wants a file as LFS; the hub does so of every .safetensors, and so do we."""
PART = 1 << 24
"""Bytes of a part of a multipart upload; larger files are uploaded in parts."""


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD path" matches, the next ``times`` of them.

    Attributes:
        action: a status; "cut": half of the body, then silence; "flip": a wrong byte.
    """

    pattern: str
    action: int | str
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    head: str = ""
    lfs: set[str] = field(default_factory=set)


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def cdn(self) -> str:
        """Where large files lie: under another name, for the client does not send its token elsewhere."""
        return f"http://localhost:{self.server_port}/cdn"

    def fault_of(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def commit(self, name: str, files: dict[str, bytes], lfs: tuple[str, ...] = ()) -> str:
        """Add or replace files, as the commit endpoint does."""
        repository = self.repositories.setdefault(name, Repository(private=False))
        content = {**repository.commits.get(repository.head, {}), **files}
        digest = hashlib.sha1(repository.head.encode())
        for path, data in sorted(content.items()):
            digest.update(path.encode() + hashlib.sha1(data).digest())
        repository.head = digest.hexdigest()
        repository.commits[repository.head] = content
        repository.lfs.update(lfs)
        return repository.head

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: object) -> None:
        pass

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(self._chunks())
        path = urlsplit(self.path).path
        request = f"{self.command} {path}"
        self.server.requests.append(request)
        self.fault = self.server.fault_of(request)
        if self.fault and isinstance(self.fault.action, int):
            self._error(self.fault.action, "", "trouble on purpose", **self.fault.headers)
            return
        for pattern, method in _ROUTES:
            if found := re.fullmatch(pattern, request):
                getattr(self, method)(**found.groupdict())
                return
        self._error(404, "", f"no such address: {request}")

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    @property
    def _is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _json(self, content: object, status: int = 200, **headers: str) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        named = {"X-Error-Code": code} if code else {}
        self._json({"error": message}, status, **named, **{"X-Error-Message": message}, **headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and self.fault.action == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        if self.fault and self.fault.action == "flip":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.wfile.write(body)

    def _repository(self, name: str, *, write: bool = False) -> Repository | None:
        """The repository; None, after an error was sent, if it is not there for whoever asks."""
        repository = self.server.repositories.get(name)
        if (repository is None or repository.private or write) and not self._is_known:
            self._error(401, "", "Invalid username or password.")
            return None
        if repository is None:
            self._error(404, "RepoNotFound", "Repository not found")
        return repository

    def _files(self, repository: Repository, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = repository.head if revision == "main" else revision
        if commit not in repository.commits:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repository.commits[commit]

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._is_known:
            self._error(401, "", "Invalid username or password.")
        elif name in self.server.repositories:
            self._json({"error": "You already created this model repo", "url": f"{self.server.url}/{name}"}, 409)
        else:
            self.server.repositories[name] = Repository(private=asked.get("visibility") == "private")
            self.server.commit(name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
            self._json({"url": f"{self.server.url}/{name}", "name": name})

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        if not content.startswith("---\n"):
            self._json({"errors": [{"message": "no metadata"}], "warnings": []}, 400)
            return
        self._json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if self._repository(name, write=True) is None:
            return
        files = []
        for file in json.loads(self.body)["files"]:
            large = file["size"] >= LFS_FROM or file["path"].endswith(".safetensors")
            files.append({"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False})
        self._json({"files": files})

    def batch(self, name: str) -> None:
        if self._repository(name, write=True) is None:
            return
        objects = []
        for asked in json.loads(self.body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            upload = {"href": f"{self.server.url}/lfs/{oid}"}
            if size > PART:
                numbers = range(1, -(-size // PART) + 1)
                parts = {f"{number:05}": f"{self.server.url}/lfs/{oid}/{number}" for number in numbers}
                upload |= {"href": f"{self.server.url}/lfs/{oid}/done", "header": {"chunk_size": str(PART), **parts}}
            actions = {"upload": upload, "verify": {"href": f"{self.server.url}/lfs/{oid}/verify"}}
            there = {} if oid in self.server.objects else {"actions": actions}
            objects.append({"oid": oid, "size": size, **there})
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        self.server.objects[oid] = self.body
        self._send(200, b"", {"ETag": f'"{oid}"'})

    def upload_part(self, oid: str, number: str) -> None:
        self.server.parts[oid, int(number)] = self.body
        self._send(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    def complete(self, oid: str) -> None:
        parts = [self.server.parts[oid, part["partNumber"]] for part in json.loads(self.body)["parts"]]
        self.server.objects[oid] = b"".join(parts)
        self._json({"success": True})

    def verify(self, oid: str) -> None:
        sound = hashlib.sha256(self.server.objects.get(oid, b"")).hexdigest() == oid
        self._json({}, 200 if sound else 422)

    def send_commit(self, name: str, revision: str) -> None:
        if self._repository(name, write=True) is None:
            return
        files: dict[str, bytes] = {}
        lfs = []
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    self._error(400, "", f"LFS pointer to an object that is not there: {value['oid']}")
                    return
                files[value["path"]] = self.server.objects[value["oid"]]
                lfs.append(value["path"])
        commit = self.server.commit(name, files, tuple(lfs))
        url = f"{self.server.url}/{name}/commit/{commit}"
        self._json({"commitUrl": url, "commitOid": commit, "hookOutput": "", "success": True})

    def info(self, name: str, revision: str = "main") -> None:
        if (repository := self._repository(name)) is None or (found := self._files(repository, revision)) is None:
            return
        commit, files = found
        siblings = [{"rfilename": path} for path in files]
        self._json({"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings,
                    "tags": [], "downloads": 0, "likes": 0})  # fmt: skip

    def tree(self, name: str, revision: str) -> None:
        if (repository := self._repository(name)) is None or (found := self._files(repository, revision)) is None:
            return
        entries = []
        for path, data in found[1].items():
            entry = {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
            if path in repository.lfs:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        self._json(entries)

    def resolve(self, name: str, revision: str, path: str) -> None:
        if (repository := self._repository(name)) is None or (found := self._files(repository, revision)) is None:
            return
        commit, files = found
        if path not in files:
            self._error(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
            return
        data = files[path]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if path in repository.lfs:
            oid = hashlib.sha256(data).hexdigest()
            self.server.objects.setdefault(oid, data)
            headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(data))}
            self._send(302, b"", {**headers, "Location": f"{self.server.cdn}/{oid}"})
        else:
            self._ranged(data, {**headers, "ETag": f'"{_git_oid(data)}"'})

    def content(self, oid: str) -> None:
        self._ranged(self.server.objects[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})

    def _ranged(self, data: bytes, headers: dict[str, str]) -> None:
        if not (found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")):
            extra = {"Content-Length": str(len(data))} if self.command == "HEAD" else {}
            self._send(200, data, headers | extra)
            return
        first, last = int(found[1]), int(found[2] or len(data) - 1)
        self._send(206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"})


_NAME, _REVISION, _OID = r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)", r"(?P<oid>[0-9a-f]{64})"
_ROUTES = (
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (rf"POST /api/models/{_NAME}/preupload/{_REVISION}", "preupload"),
    (rf"POST /api/models/{_NAME}/commit/{_REVISION}", "send_commit"),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (rf"PUT /lfs/{_OID}", "upload"),
    (rf"PUT /lfs/{_OID}/(?P<number>\d+)", "upload_part"),
    (rf"POST /lfs/{_OID}/done", "complete"),
    (rf"POST /lfs/{_OID}/verify", "verify"),
    (rf"GET /api/models/{_NAME}/revision/{_REVISION}", "info"),
    (rf"GET /api/models/{_NAME}", "info"),
    (rf"GET /api/models/{_NAME}/tree/{_REVISION}", "tree"),
    (rf"(?:GET|HEAD) /{_NAME}/resolve/{_REVISION}/(?P<path>.+)", "resolve"),
    (rf"(?:GET|HEAD) /cdn/{_OID}", "content"),
)


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def model_hub() -> Iterator[Hub]:
    """A running hub."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
