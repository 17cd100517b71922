"""A fake of an OpenAI-compatible embeddings endpoint, over HTTP on loopback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EmbeddingsServer:
    """Speaks `POST /v1/embeddings` on loopback; `faults` are answered first, in order."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.faults: list[tuple[int, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(body | {"path": self.path})
                outer.keys.append(self.headers.get("authorization"))
                status, headers, reply = outer.faults.pop(0) if outer.faults else (200, {}, outer.reply(body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def reply(self, body: dict[str, Any]) -> bytes:
        width = body.get("dimensions", 3)
        rows = [
            {"index": place, "embedding": [float(len(text)), 1.0, *[0.0] * (width - 2)]}
            for place, text in enumerate(body["input"])
        ]
        tokens = sum(len(text.split()) for text in body["input"])
        return json.dumps({"data": rows[::-1], "usage": {"total_tokens": tokens}}).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
