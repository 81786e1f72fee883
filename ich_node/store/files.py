"""The archive of received images below one folder: durable, named by hashes, never by what was received."""

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from ich_node.log import logger
from ich_node.store.incoming import Folders, Incoming, Space
from ich_node.store.writer import Writer

_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{64}\.dcm")
# another host's or container's half-written file: no write takes a day
ABANDONED_AFTER_S = 86_400


def name_of(sop_instance_uid: str, sha256: str) -> str:
    """The file below the archive's folder for one content under one SOP Instance UID.

    In one of 256 folders: each new one would have to be made durable too before its first image is.
    """
    uid = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]
    return f"{uid[:2]}/{uid}-{sha256}.dcm"


class Archive:
    """Files below `folder`: `images` and `quarantine`. Safe for any number of processes at once."""

    def __init__(self, folder: Path, *, reserve_mb: int, space: Space | None = None) -> None:
        """`space`: what may be used of the disk, by default all but the reserve."""
        self._images = folder / "images"
        self._quarantine = folder / "quarantine"
        self._folders = Folders(folder)
        self._space = space or Space(self._images, reserve_mb * 1_000_000)

    def path(self, name: str) -> Path:
        """Where an image lies."""
        return self._images / name

    def receive(self, sop_instance_uid: str, file_meta: bytes) -> Incoming:
        """Begin a file for an instance that is about to come, whatever it will turn out to be."""
        folder = self.path(name_of(sop_instance_uid, "")).parent
        return Incoming(folder, file_meta, folders=self._folders, space=self._space)

    def keep(self, incoming: Incoming, name: str) -> None:
        """Keep what came as that image, durably; the same name again changes nothing.

        Raises StorageFull where the disk reserve is reached or the folder cannot be written.
        """
        incoming.keep(self.path(name))

    def quarantine(self, incoming: Incoming) -> str:
        """Keep what came and belongs to no study, durably; returns the name below the quarantine's folder."""
        name = f"{incoming.sha256[:2]}/{incoming.sha256}.bin"
        incoming.keep(self.quarantine_path(name))
        return name

    def quarantine_path(self, name: str) -> Path:
        """Where a file of the quarantine lies."""
        return self._quarantine / name

    def read(self, name: str) -> bytes:
        """The bytes of an image; raises FileNotFoundError."""
        return self.path(name).read_bytes()

    def exists(self, name: str) -> bool:
        """Whether the image is there as a whole; one that cannot even be looked at is not."""
        return os.path.isfile(self.path(name))  # noqa: PTH113  Path's lets errors out, and is slower

    def delete(self, names: Iterable[str]) -> None:
        """Let images go; those already gone do no harm."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def delete_quarantined(self, name: str) -> None:
        """Let a file of the quarantine go; one already gone does no harm."""
        self.quarantine_path(name).unlink(missing_ok=True)

    def free_mb(self) -> int:
        """Megabytes (10^6 bytes) free for us on the archive's file system."""
        return self._space.free_bytes() // 1_000_000

    def sweep(self, *, written_before: datetime) -> Iterator[list[str]]:
        """Delete temporary files of dead writers; yield the images that are there, one folder after another.

        An image written later than `written_before` (aware) is left out: its row may be on its way.

        Only temporary files go. A name that is not ours is left alone, and so is what cannot be looked at.
        """
        for top in sorted(path for path in _below(self._images, "??") if path.is_dir()):
            found = [path for path in _below(top) if _is_image_before(path, written_before)]
            yield [str(path.relative_to(self._images)) for path in found]
            _sweep_temporary(top)
        _sweep_temporary(self._quarantine)


def _below(folder: Path, pattern: str = "**/*") -> Iterator[Path]:
    """What lies below a folder; a part of it that cannot be read ends the listing, not the process."""
    try:
        yield from folder.glob(pattern)
    except OSError as error:
        logger().error("archive.folder_unreadable", error=type(error).__name__)


def _is_image_before(path: Path, written_before: datetime) -> bool:
    try:
        return bool(_NAME.fullmatch(path.name)) and path.stat().st_mtime < written_before.timestamp()
    except OSError as error:
        logger().error("archive.file_unreadable", error=type(error).__name__)
        return False


def _sweep_temporary(folder: Path) -> None:
    for path in _below(folder, "**/.part~*"):
        try:
            if (writer := Writer.from_name(path.name)) and _is_abandoned(path, writer):
                path.unlink(missing_ok=True)
        except OSError as error:
            logger().error("archive.file_unreadable", error=type(error).__name__)


def _is_abandoned(path: Path, writer: Writer) -> bool:
    if writer.is_known_to_be_dead():
        return True
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
    except FileNotFoundError:
        return False
