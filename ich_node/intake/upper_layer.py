"""One thread for each connection: it waits for the peer, runs pynetdicom's state machine, and serves.

pynetdicom has two threads that look a thousand times a second each, which costs 2 % of a core for every
connection that is silent, and hands each message from one to the other.
"""

import queue
import struct
import time
from typing import Protocol, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE
from pynetdicom.timer import Timer

from ich_node.intake.messages import ESTABLISHED, StreamedMessages
from ich_node.log import logger
from ich_node.vocabulary import CutOff

LOOK_S = 0.5  # how soon it is noticed that the association shall end
P_DATA = b"\x04"  # type of a PDU (PS3.8 9.3.5)
_PDU_HEADER = struct.Struct(">2xI")  # length of what follows
_PDV_HEADER = struct.Struct(">IB")  # length of what follows it, presentation context

Primitive = A_ASSOCIATE | A_RELEASE | A_ABORT | A_P_ABORT


class _Connection(Protocol):
    def wait(self, seconds: float) -> bool: ...
    def recv(self, nr_bytes: int) -> bytearray: ...
    def give_back(self, begun: bytearray) -> None: ...


class Fragments:
    """The presentation data values of one P-DATA-TF PDU, as views of its bytes (PS3.8 9.3.5)."""

    def __init__(self, body: memoryview) -> None:
        """Take what follows the PDU's header; raises ValueError where the lengths contradict each other."""
        self.presentation_data_value_list: list[tuple[int, memoryview]] = []
        offset = 0
        while offset < len(body):
            if offset + _PDV_HEADER.size >= len(body):
                raise ValueError("a presentation data value is cut off")
            length, context_id = _PDV_HEADER.unpack_from(body, offset)
            value = body[offset + _PDV_HEADER.size : offset + 4 + length]
            if not value or len(value) != length - 1:
                raise ValueError("a presentation data value is longer than its PDU, or empty")
            self.presentation_data_value_list.append((context_id, value))
            offset += 4 + length


class SteadyTimer(Timer):
    """Of a state machine that ends what is silent; a step of the clock on the wall ends nothing early."""

    @property
    def remaining(self) -> float:
        """Seconds until it expires, 1 where it never does."""
        if self.timeout is None:
            return 1
        if self._start_time is None:
            return self.timeout
        end = time.monotonic() if self._end_time is None else self._end_time
        return self.timeout - (end - self._start_time)

    def start(self) -> None:
        """Begin anew."""
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        """Stand still: what does not run never expires, whatever its length is set to then."""
        self._start_time = self._end_time = None


class OneThreadLayer(DULServiceProvider):
    """The upper layer of a connection, driven by the thread of the association that asks it."""

    def start(self) -> None:
        """Begin to serve, in no thread of its own."""
        self.heard_now()
        self.artim_timer = SteadyTimer(self.artim_timer.timeout)
        self.assoc._dul_ready.set()

    def heard_now(self) -> None:
        """Count the silence of the peer from this moment on."""
        self._heard = time.monotonic()

    def is_alive(self) -> bool:
        """Whether the connection is not over yet."""
        return not self._kill_thread

    def idle_timer_expired(self) -> bool:
        """Whether the peer was silent for too long, whatever the clock on the wall says."""
        timeout = self.network_timeout
        return timeout is not None and time.monotonic() - self._heard > timeout

    def stop_dul(self) -> bool:
        """Do the next step towards the end; True once it is reached."""
        self.turn(0.01)
        return super().stop_dul()

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Primitive | None:
        """Take what the peer said last; where `wait`, serve until it says something."""
        end = time.monotonic() + (timeout if timeout is not None else LOOK_S)
        while wait and self.to_user_queue.empty() and self.is_alive() and time.monotonic() < end:
            self.turn(min(LOOK_S, max(0.0, end - time.monotonic())))
        return super().receive_pdu(wait=False)

    def turn(self, wait_s: float) -> None:
        """Do the one thing that is to be done next, or wait for the peer, at most so long."""
        try:
            self._look(wait_s)
            self.state_machine.do_action(self.event_queue.get(block=False))
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001  whatever a peer provokes ends its own association only
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the association after an error that nothing else handled."""
        logger().error("association.failed", error=type(error).__name__)
        self._messages.cut_off(CutOff.FAILED)
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self.assoc._kill = self._kill_thread = True
        self.shut()

    def _look(self, wait_s: float) -> None:
        if not self.event_queue.empty():
            return
        if self.artim_timer.expired:
            self.event_queue.put("Evt18")
        elif self._process_recv_primitive():
            pass
        elif self._is_transport_event():
            self.heard_now()
        elif self.event_queue.empty() and self.socket is not None:
            cast("_Connection", self.socket).wait(wait_s)

    def shut(self) -> None:
        """Close the connection, if it is still open."""
        if self.socket is not None:
            self.socket._shutdown_socket()

    def _read_pdu_data(self) -> None:
        """Read a PDU; data of an established association goes on without queues and copies.

        The state machine has nothing to say there: Sta6 stays Sta6 (PS3.8 9.2.3, DT-2). pynetdicom copies
        each data set eight times.
        """
        connection = cast("_Connection", self.socket)
        if self.state_machine.current_state != ESTABLISHED:
            super()._read_pdu_data()
            return
        try:
            header = connection.recv(_PDU_HEADER.size)
            if header[:1] != P_DATA or len(header) < _PDU_HEADER.size:
                connection.give_back(header)
                super()._read_pdu_data()
                return
            (length,) = _PDU_HEADER.unpack(header)
            body = connection.recv(length)
        except OSError:
            self.event_queue.put("Evt17")
            return
        if len(body) < length:
            self.event_queue.put("Evt17")
            return
        try:
            fragments = Fragments(memoryview(body))
        except ValueError:
            self._messages.cut_off(CutOff.BAD_MESSAGE)
            self.event_queue.put("Evt19")
            return
        self._messages.receive_primitive(fragments)

    @property
    def _messages(self) -> StreamedMessages:
        return cast("StreamedMessages", self.assoc.dimse)


class OneThreadAssociation(Association):
    """An association that serves its peer in the thread that reads from it."""

    dul: OneThreadLayer
    dimse: StreamedMessages

    def run(self) -> None:
        """Serve until the association is over; nothing half received stays, and no connection."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001  whatever it is, the peer must not wait for us for ever
            self.dul.fail(error)
        finally:
            self.dimse.discard()
            self.dul.shut()

    def _run_reactor(self) -> None:
        while not self._kill:
            self.dul.turn(LOOK_S)
            self._serve_messages()
            if self.is_established and self.acse.is_release_requested():
                self.acse.send_release(is_response=True)
                self.is_released, self.is_established = True, False
                evt.trigger(self, evt.EVT_RELEASED, {})
                self.kill()
            elif self.acse.is_aborted():
                self.dul.receive_pdu()
                self.is_aborted, self.is_established = True, False
                evt.trigger(self, evt.EVT_ABORTED, {})
                self.kill()
            elif not self.dul.is_alive():
                self.kill()
            elif self.dul.idle_timer_expired():
                self.abort()

    def _serve_messages(self) -> None:
        while (found := self.dimse.get_msg())[1] is not None:
            context_id, message = found
            try:
                self._serve_request(message, context_id)
            finally:
                self.dimse.finish(message)
                self.dul.heard_now()  # a peer that waits for our answer is not silent
