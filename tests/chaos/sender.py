"""Scanners that outlive the node's troubles and keep a log of what was acknowledged. Uses the network."""

import random
import threading
import time
from collections.abc import Callable, Sequence

from chaos.observer import SentStudy
from chaos.plan import PlannedStudy, Way
from chaos.studies import parts_of, pixels_sha256
from pydicom.dataset import Dataset

from ich_node.demo.scanner import associate, store
from ich_node.errors import DeliveryFailed

HOST = "127.0.0.1"
AGAIN_S = 0.4
ENOUGH_S = 60.0  # a scanner that tries for longer waits for a person
PAUSE_S = 3.0  # before the part that comes late


class Sender:
    """Sends one study in a thread; `ports` says where receivers listen just now."""

    def __init__(self, study: PlannedStudy, ports: Callable[[], Sequence[int]]) -> None:
        self._study, self._ports = study, ports
        self._parts = parts_of(study)
        self.study_uid = str(self._parts[0][0].StudyInstanceUID)
        self._acknowledged: dict[str, str] = {}
        self._draw = random.Random(study.number)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait until it has sent all, or given up."""
        self._thread.join()

    def left(self) -> int:
        """How many images it could not send though it does not give up."""
        images = sum(map(len, self._parts))
        return 0 if self._study.way is Way.ONCE else images - len(self._acknowledged)

    def log(self) -> SentStudy:
        """What it knows by now."""
        return SentStudy(
            number=self._study.number,
            study_uid=self.study_uid,
            reported=self._study.kind.is_reported,
            acknowledged=dict(self._acknowledged),
        )

    def _run(self) -> None:
        time.sleep(self._study.after_s)
        end = time.monotonic() + ENOUGH_S
        for number, part in enumerate(self._parts):
            time.sleep(PAUSE_S if number else 0)
            self._send_part(part, end)
        if self._study.way is Way.AGAIN:
            for part in self._parts:
                self._send_all(part)

    def _send_part(self, part: list[Dataset], end: float) -> None:
        """Send until all is acknowledged; a scanner that gives up does so after its first association."""
        while left := [image for image in part if str(image.SOPInstanceUID) not in self._acknowledged]:
            if self._study.way is Way.SHUFFLED:
                self._draw.shuffle(left)
            batches = [[image] for image in left] if self._study.way is Way.ONE_PER_IMAGE else [left]
            for batch in batches:
                self._send_all(batch)
            if self._study.way is Way.ONCE or time.monotonic() > end:
                return
            time.sleep(AGAIN_S * self._draw.random())

    def _send_all(self, images: list[Dataset]) -> None:
        try:
            association = associate(images, HOST, self._draw.choice(self._ports()))
        except DeliveryFailed:
            return
        for image in images:
            try:
                sent = store(association, image)
            except RuntimeError:  # it ended between two images
                return
            if sent.status == 0x0000:
                self._acknowledged[sent.sop_instance_uid] = pixels_sha256(image)
        if association.is_established:
            association.release()
