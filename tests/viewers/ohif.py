"""OHIF as a hospital would run it: the built app and a PACS's DICOMweb behind one origin, on loopback."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_FOLDERS = sorted((Path(__file__).parents[2] / ".viewer").glob("ohif-*/dist"))  # `make viewers` puts it there
APP = _FOLDERS[-1] if _FOLDERS else None
_WEB = "/dicom-web"
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "pacs",
    "configuration": {
        "friendlyName": "PACS",
        "name": "pacs",
        **dict.fromkeys(("wadoUriRoot", "qidoRoot", "wadoRoot"), _WEB),
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "omitQuotationForMultipartRequest": True,
    },
}
_CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "investigationalUseDialog": {"option": "never"},
    "maxNumberOfWebWorkers": 2,
    "defaultDataSourceName": "pacs",
    "dataSources": [_SOURCE],
}


class _Origin(SimpleHTTPRequestHandler):
    """Hands out the app's files, passes DICOMweb on to Orthanc; any other path is the app's own router's."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, dicomweb: str, **named) -> None:
        self._dicomweb = dicomweb
        super().__init__(*arguments, directory=str(APP), **named)

    def do_GET(self) -> None:
        if self.path.startswith(_WEB):
            self._pass_on()
        elif self.path == "/app-config.js":
            self._answer(200, "text/javascript", f"window.config = {json.dumps(_CONFIG)};".encode())
        else:
            if not Path(self.translate_path(self.path)).is_file():
                self.path = "/index.html"
            super().do_GET()

    def _pass_on(self) -> None:
        wanted = urllib.request.Request(self._dicomweb + self.path)
        wanted.add_header("Accept", self.headers.get("Accept", "*/*"))
        try:
            with urllib.request.urlopen(wanted, timeout=60) as answer:
                self._answer(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, "text/plain", error.read())

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test tells what it saw."""


@contextmanager
def serving(orthanc_http_port: int) -> Iterator[str]:
    """Serve OHIF before this Orthanc; yields the origin's address."""
    handler = partial(_Origin, dicomweb=f"http://127.0.0.1:{orthanc_http_port}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
