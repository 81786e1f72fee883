"""Sends to a node: by DCMTK's storescu what it takes, else the very bytes by pynetdicom."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from reception import Message, associate
from sweep.offers import Offer

from ich_node.demo.node import AE_TITLE, LOOPBACK, SCANNER_AE_TITLE

ANSWER_WITHIN_S = 120
_STATUS = re.compile(r"DIMSE Status\s*: 0x([0-9a-fA-F]{4})")
_REFUSED = "No Acceptable Presentation Contexts"
# the one class and the one transfer syntax of the file: DCMTK offers to change the syntax else
_PROFILE = """[[TransferSyntaxes]]
[Own]
TransferSyntax1 = {syntax}
[[PresentationContexts]]
[Only]
PresentationContext1 = {sop_class}\\Own
[[Profiles]]
[Sweep]
PresentationContexts = Only
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the node answered: the context refused, a status, or neither of them."""

    sender: str
    refused_context: bool = False
    status: int | None = None


class Sender:
    """A peer of one node; what pynetdicom sends goes over one association as long as it is of one kind."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._association: Association | None = None
        self._kind = ("", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def send(self, offer: Offer) -> Answer:
        """Send one offer: a file by storescu where it takes it, else the bytes as they lie."""
        if offer.path is not None and (answer := _by_storescu(offer, self._port)):
            return answer
        return self._by_pynetdicom(offer.message)

    def _by_pynetdicom(self, message: Message) -> Answer:
        association = self._associated(message.sop_class_uid, message.transfer_syntax_uid)
        if not association.accepted_contexts:
            return Answer(sender="pynetdicom", refused_context=bool(association.rejected_contexts))
        request = C_STORE()  # its own `send_c_store` would look into the bytes
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID = message.sop_class_uid
        request.AffectedSOPInstanceUID = message.sop_instance_uid
        request.DataSet = BytesIO(message.dataset)
        association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
        _, response = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        status = None if response is None else response.Status
        return Answer(sender="pynetdicom", status=None if status is None else int(status))

    def _associated(self, *kind: str) -> Association:
        if self._association is None or not self._association.is_established or kind != self._kind:
            self.release()
            sop_class, syntax = kind
            self._association = associate(self._port, [(sop_class, [syntax])], calling=SCANNER_AE_TITLE)
            self._association.dimse_timeout = ANSWER_WITHIN_S
            self._kind = (sop_class, syntax)
        return self._association

    def release(self) -> None:
        """End the association: a study is whole when nobody sends of it any more."""
        if self._association is not None and self._association.is_established:
            self._association.release()


def echo(port: int) -> bool:
    """Ask by DCMTK's echoscu whether the node answers."""
    command = ["echoscu", "-to", "10", "-aet", SCANNER_AE_TITLE, "-aec", AE_TITLE, LOOPBACK, str(port)]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


def missing_programs() -> list[str]:
    """The programs of DCMTK that are not installed."""
    return [name for name in ("storescu", "echoscu", "dcmcjpeg") if shutil.which(name) is None]


def _by_storescu(offer: Offer, port: int) -> Answer | None:
    """None where storescu itself does not take the file: DCMTK knows fewer syntaxes and classes than we."""
    with TemporaryDirectory() as folder:
        profile = Path(folder) / "profile.cfg"
        message = offer.message
        profile.write_text(
            _PROFILE.format(syntax=message.transfer_syntax_uid, sop_class=message.sop_class_uid)
        )
        command = ["storescu", "--debug", "--config-file", str(profile), "Sweep"]
        command += ["-aet", SCANNER_AE_TITLE, "-aec", AE_TITLE, "-td", str(ANSWER_WITHIN_S)]
        command += ["-pdu", "131072", LOOPBACK, str(port), str(offer.path)]
        done = subprocess.run(command, check=False, capture_output=True, timeout=2 * ANSWER_WITHIN_S)
    said = (done.stdout + done.stderr).decode("ascii", "replace")
    if found := _STATUS.search(said):
        return Answer(sender="storescu", status=int(found[1], 16))
    return Answer(sender="storescu", refused_context=True) if _REFUSED in said else None
