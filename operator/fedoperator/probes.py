"""HTTP for the kubelet and for Prometheus: /healthz, /readyz and /metrics, each in a thread of its own.

Started by lifecycle.py before the election, so that a standby replica passes its probes too. Answers are computed
per request from what is handed in; nothing here knows what they mean.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, str, bytes]  # status, content type, body
Route = Callable[[], Answer]

TEXT = "text/plain; charset=utf-8"
METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def verdict(trouble: str) -> Answer:
    """200 when there is no trouble, else 503 that names it."""
    return (503, TEXT, trouble.encode()) if trouble else (200, TEXT, b"ok")


class _Server(ThreadingHTTPServer):
    """On IPv4 and IPv6 where the machine has both, else on IPv4."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    daemon_threads = True
    routes: Mapping[str, Route]

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        status, content_type, body = route() if route else (404, TEXT, b"not found")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds: not logged."""


def serve(port: int, routes: Mapping[str, Route]) -> int:
    """Serves until the process ends; returns the port, which 0 leaves to the system."""
    server = _Server(("", port), _Handler)
    server.routes = routes
    threading.Thread(target=server.serve_forever, name=f"http-{port}", daemon=True).start()
    return server.server_port
