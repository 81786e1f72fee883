"""Puts DIMSE messages together from their fragments; a data set to store goes to the disk as it comes.

So a receiver holds a PDU for each association in memory, however long the data sets are.
"""

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, Protocol, cast

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE, DimsePrimitiveType
from pynetdicom.pdu_primitives import P_DATA

from ich_node.dicom.requests import store_request
from ich_node.dicom.responses import store_response
from ich_node.log import logger
from ich_node.store.incoming import Incoming
from ich_node.vocabulary import CutOff

ESTABLISHED = "Sta6"  # PS3.8 9.2
COMMAND, LAST = 0x01, 0x02  # bits of the message control header (PS3.8 E.2)
LONGEST_COMMAND = 1 << 16
# of a data set that is not to be stored: a Storage Commitment result names each instance in 200 bytes
LONGEST_IN_MEMORY = 1 << 22

MOST_WAITING = 8  # images sent without waiting for an answer (PS3.7 D.3.3.3: one, unless agreed): each a file

# how a file begins for the data set of a request that comes next
Begin = Callable[[Association, C_STORE], Incoming]


class _Primitive(Protocol):
    presentation_data_value_list: Any


class OnDisk(BytesIO):
    """The data set of a request as pynetdicom knows one, but its bytes go to a file."""

    def __init__(self, incoming: Incoming) -> None:
        super().__init__()
        self.incoming = incoming

    def write(self, piece: bytes | memoryview) -> int:  # type: ignore[override]
        """Take the next fragment."""
        self.incoming.write(piece)
        return len(piece)


class OverLimit(ValueError):
    """The peer sends more than it may."""

    def __init__(self, words: str, why: CutOff = CutOff.BAD_MESSAGE) -> None:
        super().__init__(words)
        self.why = why


class StreamedMessages(DIMSEServiceProvider):
    """Puts messages together, none longer than the limit; knows when the peer last said something."""

    def __init__(
        self, association: Association, limit_bytes: int, begin: Begin, cut_off: Callable[[CutOff], None]
    ) -> None:
        super().__init__(association)
        self._limit_bytes, self._begin_file, self.cut_off = limit_bytes, begin, cut_off
        self._request: Any = None  # of the message whose data set is coming
        self._data_set: BytesIO | None = None
        self._command_bytes = self._taken_bytes = 0
        self.last_heard = time.monotonic()

    def receive_primitive(self, primitive: _Primitive) -> None:
        """Take the fragments of a P-DATA; an endless or senseless message ends the association."""
        self.last_heard = time.monotonic()
        try:
            for context_id, value in primitive.presentation_data_value_list:
                self._take(context_id, value)
        except Exception as error:  # noqa: BLE001  pynetdicom's for commands that make no sense
            caller = self.assoc.requestor
            log = logger().bind(ae_title=str(caller.ae_title).strip(), address=str(caller.address))
            if isinstance(error, OverLimit):
                log.warning("association.over_limit", error=str(error))
            else:
                log.warning("association.failed", error=type(error).__name__)
            self.cut_off(error.why if isinstance(error, OverLimit) else CutOff.BAD_MESSAGE)
            self.discard()
            self.dul.event_queue.put("Evt19")  # as pynetdicom ends it where a message is invalid

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Send a response; to a C-STORE at once, from the thread of the association."""
        transport = self.dul.socket
        established = self.dul.state_machine.current_state == ESTABLISHED
        if established and isinstance(primitive, C_STORE) and primitive.Status is not None:
            response = store_response(
                context_id=context_id,
                message_id=primitive.MessageIDBeingRespondedTo or 0,
                sop_class_uid=primitive.AffectedSOPClassUID or "",
                sop_instance_uid=primitive.AffectedSOPInstanceUID or "",
                status=primitive.Status,
                comment=cast("str | None", primitive.ErrorComment) or "",
            )
            if transport is not None and len(response) <= (self.maximum_pdu_size or len(response)):
                transport.send(response)
                return
        super().send_msg(primitive, context_id)

    def finish(self, message: object) -> None:
        """Let go of the data set of a message that was served."""
        data_set = getattr(message, "DataSet", None)
        if isinstance(data_set, OnDisk):
            data_set.incoming.discard()

    def discard(self) -> None:
        """Let go of all that was not served: the message that is coming, and those that wait."""
        self.finish(self._request)
        self.message = self._request = None
        while (waiting := self.get_msg())[1] is not None:
            self.finish(waiting[1])

    def _take(self, context_id: int, value: memoryview) -> None:
        control, fragment = value[0], value[1:]
        if control & COMMAND:
            if not self._take_store_request(context_id, value) and self._take_command(context_id, value):
                self._whole()
            return
        if self._request is None or self._data_set is None:
            raise OverLimit("a data set that no command announced")
        data_set = self._data_set
        self._taken_bytes += len(fragment)
        limit = self._limit_bytes if (is_stored := isinstance(data_set, OnDisk)) else LONGEST_IN_MEMORY
        if self._taken_bytes > limit:
            why = CutOff.INSTANCE_TOO_LARGE if is_stored else CutOff.BAD_MESSAGE
            raise OverLimit("data set longer than receiver.max_instance_mb", why)
        data_set.write(fragment)
        if control & LAST:
            self._whole()

    def _take_store_request(self, context_id: int, value: memoryview) -> bool:
        """Take a C-STORE request that came as one fragment; returns whether it was one."""
        if value[0] & LAST == 0 or self.message is not None or self._request is not None:
            return False
        said = store_request(value[1:])
        if said is None:
            return False
        request = C_STORE()
        request.MessageID, request.Priority = said.message_id, said.priority
        request.AffectedSOPClassUID = UID(said.sop_class_uid)
        request.AffectedSOPInstanceUID = UID(said.sop_instance_uid)
        request._context_id = context_id
        self._begin_to_store(request)
        return True

    def _begin_to_store(self, request: C_STORE) -> None:
        begun = OnDisk(self._begin(self.assoc, request))
        self._data_set = request.DataSet = begun
        self._request, self._taken_bytes = request, 0

    def _take_command(self, context_id: int, value: memoryview) -> bool:
        """Take a fragment of a command; returns whether the message ends here, as it has no data set."""
        if self.message is None:
            self.message, self._command_bytes = DIMSEMessage(), 0
        self._command_bytes += len(value)
        if self._command_bytes > LONGEST_COMMAND or self._request is not None:
            raise OverLimit("a command without end")
        primitive = P_DATA()
        primitive.presentation_data_value_list = []  # its setter takes no tuples, which is what it holds
        primitive.presentation_data_value_list.append((context_id, bytes(value)))
        ends_here = self.message.decode_msg(primitive, self.assoc)
        if value[0] & LAST:
            request: Any = self.message.message_to_primitive()
            if isinstance(self.message, C_STORE_RQ) and not ends_here:
                self._begin_to_store(request)
            else:
                self._request, self._data_set, self._taken_bytes = request, self.message.data_set, 0
        return ends_here

    def _begin(self, association: Association, request: C_STORE) -> Incoming:
        if self.msg_queue.qsize() >= MOST_WAITING:
            raise OverLimit("images sent without waiting for answers")
        return self._begin_file(association, request)

    def _whole(self) -> None:
        request, self._request, self.message = self._request, None, None
        if not isinstance(request, C_CANCEL):  # nothing that we serve can be cancelled
            self.msg_queue.put((request._context_id, request))
