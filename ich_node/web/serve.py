"""The web process: /metrics for Prometheus and /health for who keeps watch. Uses HTTP and the database."""

import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from ich_node.dicom.audit import activity
from ich_node.errors import Collision, DatabaseAway, UsageError
from ich_node.log import logger
from ich_node.settings.tree import Settings
from ich_node.store.audit import record
from ich_node.store.database import Database, await_current
from ich_node.user import current_user
from ich_node.web.health import health
from ich_node.web.metrics import NodeMetrics

JSON, TEXT = "application/json", "text/plain; charset=utf-8"
REQUEST_WITHIN_S = 30


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_WITHIN_S  # who connects and says nothing holds a thread for so long

    def log_message(self, format: str, *args: object) -> None:
        """Log no requests: who asks, asks every few seconds."""


def _of(kind: str) -> list[tuple[str, str]]:
    """Headers of an answer: a new list each time, as the server adds the length to it."""
    return [("Content-Type", kind)]


def application(database: Database, settings: Settings) -> WSGIApplication:
    """What answers to HTTP; never more than one look at the database for metrics at a time."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeMetrics(database, settings))
    metrics = make_wsgi_app(registry)
    one_at_a_time = threading.Lock()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", _of(TEXT))
            return [b"only GET is served\n"]
        match environ["PATH_INFO"]:
            case "/metrics":
                with one_at_a_time:
                    return metrics(environ, start_response)  # type: ignore[no-any-return]
            case "/health":
                well, body = health(database)
                start_response("200 OK" if well else "503 Service Unavailable", _of(JSON))
                return [body]
        start_response("404 Not Found", _of(TEXT))
        return [b"/metrics and /health are served\n"]

    return answer


def _audit(database: Database, *, starts: bool) -> None:
    """Write into the audit trail that this process starts or stops; it gives no signs of life that would."""
    try:
        with database.transaction() as connection:
            event = activity(f"web {os.getpid()}", starts=starts, launcher=current_user())
            record(connection, event, now=datetime.now(UTC))
    except (Collision, DatabaseAway) as error:
        logger().error("audit.not_written", error=str(error))


def run(settings: Settings, stop: threading.Event, ready: Callable[[int], None] | None = None) -> None:
    """Serve until `stop` is set; `ready` gets the port.

    A database that is away is told, not waited for. Raises UsageError where the port cannot be had.
    """
    database = Database(settings.database_url)
    host, port = settings.web.host, settings.web.port
    try:
        server = make_server(
            host, port, application(database, settings), server_class=_Server, handler_class=_Handler
        )
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port} ({error.strerror}); set web.port") from error
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    serving.start()
    logger().info("web.started", host=host, port=server.server_port)
    if ready:
        ready(server.server_port)
    try:
        if await_current(database, stop):
            _audit(database, starts=True)
            stop.wait()
            _audit(database, starts=False)
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
        database.dispose()
        logger().info("web.stopped")
