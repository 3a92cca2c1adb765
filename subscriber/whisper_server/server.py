"""The HTTP part: OpenAI's transcription endpoint on an `Engine`.

The law of this file: every connection, body and wait is bounded, every answer carries `x-request-id`, and whatever
goes wrong is answered in OpenAI's error shape.
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
import socketserver
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from subscriber.errors import Permanent, Transient
from subscriber.whisper_server.engine import Engine
from subscriber.whisper_server.faults import Faults, Visit
from subscriber.whisper_server.form import Upload, parse, render
from subscriber.whisper_server.kinds import MANGLED, OUTAGES, REFUSALS, refuse
from subscriber.whisper_server.reply import Refused, Reply, json_reply, refusal
from subscriber.whisper_server.silences import SILENCES

__all__ = ["MAX_BODY_BYTES", "Server"]

MAX_BODY_BYTES = 25 * 1024 * 1024
"""OpenAI's limit, and counted as they do: the whole body."""
MAX_CONNECTIONS = 128
READ_SECONDS = 30.0
"""For one read from, or write to, a client."""
BODY_SECONDS = 120.0
"""For a whole body, so that a client cannot trickle bytes for ever."""

log = logging.getLogger(__name__)


class Server(socketserver.ThreadingTCPServer):
    """Serves while its `with` block runs. Port 0 takes a free one; `url` knows the real one.

    Models named `gpt-*` give text only and refuse verbose_json, as OpenAI's do. With `control`, faults can be
    ordered over HTTP and requests are counted; without, `/control` does not exist.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        engine: Engine,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        control: bool = False,
        models: tuple[str, ...] = ("whisper-1", "gpt-transcribe"),
    ) -> None:
        self.engine = engine
        self.key = key
        self.faults = Faults() if control else None
        self.models = tuple(dict.fromkeys((*models, engine.name)))
        self.started_at = int(time.time())
        self._open: set[socket.socket] = set()
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="whisper-server", daemon=True)

    @property
    def url(self) -> str:
        """The root, `http://host:port`; an OpenAI client wants this plus `/v1`."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        if self.faults:
            self.faults.command({"hold": False})
        # A kept-alive connection would go on being served by its thread: a server that has stopped must be gone.
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 socketserver's signature
        """Turn a client away when there are too many."""
        return len(self._open) < MAX_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember who is connected."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget who has left."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "subscriber-whisper-server"
    sys_version = ""
    timeout = READ_SECONDS
    wbufsize = -1  # Head and body leave in one piece; unbuffered, Nagle and delayed acks cost 40 ms a request.

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def _serve(self, answer: Callable[[SplitResult], Reply | None]) -> None:
        try:
            reply = answer(urlsplit(self.path))
        except Refused as refused:
            reply = refused.reply
        except Exception:
            log.exception("the whisper server failed to answer %s", self.path)
            reply = REFUSALS["server_error"]
        if reply is None:
            self.close_connection = True
        else:
            self._send(reply)

    def _get(self, url: SplitResult) -> Reply:
        if url.path == "/healthz":
            return json_reply({"status": "ok", "model": self.server.engine.name})
        if url.path == "/control" and self.server.faults:
            return self._status(self.server.faults, dict(parse_qsl(url.query)))
        self._check_key()
        if url.path == "/v1/models":
            self._check_outage(None)
            return json_reply({"object": "list", "data": [self._model(name) for name in self.server.models]})
        if url.path.startswith("/v1/models/"):
            name = unquote(url.path.removeprefix("/v1/models/"))
            self._check_outage(name)
            return json_reply(self._model(name))
        raise Refused(refusal(404, f"nothing is served at {url.path}", code="unknown_url"))

    def _post(self, url: SplitResult) -> Reply | None:
        if self.server.faults and url.path != "/control" and self.server.faults.drops_upload():
            self.rfile.read(int(self.headers["content-length"]) // 2)
            return None
        body = self._body()
        if url.path == "/control" and self.server.faults:
            return self._command(self.server.faults, body)
        self._check_key()
        if url.path != "/v1/audio/transcriptions":
            raise Refused(refusal(404, f"nothing is served at {url.path}", code="unknown_url"))
        upload = parse(self.headers.get("content-type", ""), body)
        with self._visit(upload) as visit:
            try:
                reply = self._transcribe(upload, visit)
            except Refused as refused:
                reply = refused.reply
            visit.answered = reply is not None and not reply.cut
        return reply

    def _visit(self, upload: Upload) -> AbstractContextManager[Visit]:
        if not self.server.faults:
            return nullcontext(Visit(None))
        fields = {name: list(values) for name, values in upload.fields.items()}
        checked = {"model": upload.model, "response_format": upload.response_format, "sha256": upload.sha256}
        return self.server.faults.visit({**checked, "filename": upload.filename, "fields": fields})

    def _status(self, faults: Faults, query: dict[str, str]) -> Reply:
        try:
            wait, timeout = int(query.get("wait_requests", "0")), float(query.get("timeout", "0"))
        except ValueError as error:
            raise Refused(refusal(400, str(error))) from error
        return json_reply(faults.snapshot(wait, timeout))

    def _command(self, faults: Faults, body: bytes) -> Reply:
        try:
            faults.command(json.loads(body))
        except (ValueError, TypeError) as error:
            raise Refused(refusal(400, str(error))) from error
        return json_reply(faults.snapshot())

    def _transcribe(self, upload: Upload, visit: Visit) -> Reply | None:
        kind = visit.fault.fault if visit.fault else ""
        if kind in SILENCES:
            with suppress(OSError):
                SILENCES[kind](self.connection)
            return None
        if visit.fault and (reply := refuse(visit.fault)):
            return reply
        self._model(upload.model)
        if upload.model.startswith("gpt-") and upload.response_format == "verbose_json":
            return REFUSALS["refuse_verbose"]
        answer = self._ask(upload)
        visit.transcribed = True
        reply = render(MANGLED[kind](answer) if kind in MANGLED else answer, upload)
        return Reply(reply.status, reply.body, reply.content_type, cut=kind == "drop")

    def _ask(self, upload: Upload) -> dict[str, Any]:
        try:
            return self.server.engine.transcribe(
                upload.data,
                upload.filename,
                language=upload.first("language"),
                prompt=upload.first("prompt"),
                temperature=upload.temperature,
                word_timestamps="word" in upload.granularities,
            )
        except Permanent as error:
            raise Refused(refusal(400, str(error), param="file", code="invalid_file_format")) from error
        except ValueError as error:
            raise Refused(refusal(400, str(error), code="invalid_value")) from error
        except Transient as error:
            raise Refused(refusal(500, str(error), kind="server_error")) from error

    def _check_key(self) -> None:
        given, wanted = self.headers.get("authorization", ""), f"Bearer {self.server.key}"
        if self.server.key and not hmac.compare_digest(given.encode(), wanted.encode()):
            raise Refused(REFUSALS["unauthorized"])

    def _check_outage(self, model: str | None) -> None:
        mode = self.server.faults.mode if self.server.faults else None
        if mode and (mode.fault in OUTAGES or (mode.fault == "model_gone" and mode.model in {None, model})):
            raise Refused(REFUSALS[mode.fault])

    def _model(self, name: str) -> dict[str, Any]:
        if name not in self.server.models:
            raise Refused(REFUSALS["model_gone"])
        return {"id": name, "object": "model", "created": self.server.started_at, "owned_by": self.server.engine.name}

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "")
        if not length.isdigit():
            self.close_connection = True
            raise Refused(refusal(411, "a Content-Length is needed"))
        if int(length) <= MAX_BODY_BYTES:
            return b"".join(self._read(int(length)))
        # Read and drop: closing on unread bytes resets the connection, and the client would never see the 413.
        self.close_connection = True
        for _ in self._read(min(int(length), 4 * MAX_BODY_BYTES)):
            pass
        raise Refused(refusal(413, f"the upload of {length} bytes is over the limit of {MAX_BODY_BYTES}"))

    def _read(self, left: int) -> Iterator[bytes]:
        deadline = time.monotonic() + BODY_SECONDS
        while left:
            piece = b""
            with suppress(TimeoutError):
                piece = self.rfile.read1(min(left, 1 << 20))
            if not piece or time.monotonic() > deadline:
                self.close_connection = True
                raise Refused(refusal(408, "the body did not arrive in time", code="timeout"))
            left -= len(piece)
            yield piece

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"content-type": reply.content_type, "content-length": str(len(reply.body)), **reply.headers}
        if reply.cut or self.close_connection:
            self.close_connection = True
            headers["connection"] = "close"
        for name, value in {**headers, "x-request-id": f"req_{uuid.uuid4().hex}"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What the standard library refuses by itself, in our shape."""
        self.close_connection = True
        self._send(refusal(code, message or "the request cannot be understood"))

    def log_message(self, *args: object) -> None:
        """Say nothing: the daemon that asks keeps the log."""
