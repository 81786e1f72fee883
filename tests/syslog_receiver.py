"""Receivers of audit messages: a small one of our own that can misbehave, and rsyslog."""

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from certificates import Identity
from peers import missing, program
from reception import eventually

from ich_node.network import listens


class SyslogReceiver:
    """Takes octet-counted frames over TLS and keeps their messages; `manners` says how it behaves.

    good: answers closing with closing (RFC 5425 4.4). plain: hangs up when it has read all. rude: hangs up
    after so many octets, and keeps what it has read. hasty: closes by itself before it has read a thing.
    silent: reads, and does not close.
    """

    def __init__(self, identity: Identity, *, port: int = 0) -> None:
        self.messages: list[str] = []
        self.manners = "good"
        self.rude_after = 3000
        self.calls = 0
        self._released = threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.certificate, identity.key)
        self._context.load_verify_locations(identity.authority)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def numbers(self) -> list[int]:
        return [int(re.search(r'sequenceId="(\d+)"', one)[1]) for one in self.messages]

    @property
    def marks(self) -> list[tuple[str, str]]:
        """Time and number of each: what tells two lines apart."""
        found = [re.match(r'<\d+>1 (\S+) .*?sequenceId="(\d+)"', one) for one in self.messages]
        return [(one[1], one[2]) for one in found]

    def forgive(self) -> None:
        """Behave from now on."""
        self.manners = "good"
        self._released.set()

    def close(self) -> None:
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.calls += 1
            plain.settimeout(20)
            with (
                suppress(OSError),
                plain,
                self._context.wrap_socket(plain, server_side=True) as secured,
            ):
                self._take(secured)

    def _take(self, secured: ssl.SSLSocket) -> None:
        if self.manners == "hasty":
            secured.unwrap()
            return
        octets = b""
        while more := secured.recv(1000):
            octets = self._keep(octets + more)
            self.rude_after -= len(more)
            if self.manners == "rude" and self.rude_after <= 0:
                return
        if self.manners == "silent":
            self._released.wait(20)
        elif self.manners == "good":
            secured.unwrap()

    def _keep(self, octets: bytes) -> bytes:
        while found := re.match(rb"(\d+) ", octets):
            begin, length = found.end(), int(found[1])
            if len(octets) < begin + length:
                break
            self.messages.append(octets[begin : begin + length].decode())
            octets = octets[begin + length :]
        return octets


@contextmanager
def syslog_receiver(identity: Identity, *, port: int = 0) -> Iterator[SyslogReceiver]:
    receiver = SyslogReceiver(identity, port=port)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def rsyslog(folder: Path, identity: Identity, port: int) -> Iterator[Path]:
    """The syslog daemon of Debian, over TLS with certificates on both sides; the file that it writes."""
    daemon = program("rsyslogd", "rsyslog")
    if not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")):
        missing("rsyslog's TLS (Debian package rsyslog-gnutls)")
    folder.mkdir()
    written = folder / "messages"
    (folder / "rsyslog.conf").write_text(
        f"""
        global(workDirectory="{folder}"
               defaultNetstreamDriverCAFile="{identity.authority}"
               defaultNetstreamDriverCertFile="{identity.certificate}"
               defaultNetstreamDriverKeyFile="{identity.key}"
               maxMessageSize="64k")
        module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1"
               streamDriver.authMode="x509/certvalid")
        input(type="imtcp" address="127.0.0.1" port="{port}")
        template(name="whole" type="string" string="%rawmsg%\\n")
        action(type="omfile" file="{written}" template="whole")
        """
    )
    command = [daemon, "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
    try:
        eventually(lambda: listens("127.0.0.1", port), within_s=30)
        yield written
    finally:
        process.terminate()
        process.wait(20)
