"""The archive of received images below one folder: durable, named by hashes, never by what was received."""

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from ich_node.errors import StorageFull
from ich_node.log import logger
from ich_node.store.writer import Writer, this_process

_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{64}\.dcm")
# another host's or container's half-written file: no write takes a day
ABANDONED_AFTER_S = 86_400


def name_of(sop_instance_uid: str, sha256: str) -> str:
    """The file below the archive's folder for one content under one SOP Instance UID."""
    uid = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]
    return f"{uid[:2]}/{uid[2:4]}/{uid}-{sha256}.dcm"


class Archive:
    """Files below `folder`: `images` and `quarantine`. Safe for any number of processes at once."""

    def __init__(self, folder: Path, *, reserve_mb: int) -> None:
        self._images = folder / "images"
        self._quarantine = folder / "quarantine"
        self._reserve_bytes = reserve_mb * 1_000_000

    def path(self, name: str) -> Path:
        """Where an image lies."""
        return self._images / name

    def write(self, name: str, parts: Sequence[bytes]) -> None:
        """Write an image durably, the whole or nothing; the same name again changes nothing.

        Raises StorageFull where the disk reserve is reached or the folder cannot be written.
        """
        self._write(self._images / name, parts)

    def quarantine(self, sha256: str, parts: Sequence[bytes]) -> str:
        """Keep bytes that belong to no study, durably; returns the name below the quarantine's folder."""
        name = f"{sha256[:2]}/{sha256}.bin"
        self._write(self._quarantine / name, parts)
        return name

    def quarantine_path(self, name: str) -> Path:
        """Where a file of the quarantine lies."""
        return self._quarantine / name

    def read(self, name: str) -> bytes:
        """The bytes of an image; raises FileNotFoundError."""
        return self.path(name).read_bytes()

    def exists(self, name: str) -> bool:
        """Whether the image is there as a whole; one that cannot even be looked at is not."""
        try:
            return self.path(name).is_file()
        except OSError:
            return False

    def delete(self, names: Iterable[str]) -> None:
        """Let images go; those already gone do no harm."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def free_mb(self) -> int:
        """Megabytes (10^6 bytes) free for us on the archive's file system."""
        return _free_bytes(self._images) // 1_000_000

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

    def _write(self, target: Path, parts: Sequence[bytes]) -> None:
        size = sum(map(len, parts))
        try:
            _make_durable_folder(target.parent)
            if target.is_file() and target.stat().st_size == size:
                _sync_folder(target.parent)  # its writer may have died before it did this
                return
            self._require_space(size)
            _write_durably(target, parts)
        except OSError as error:
            words = errno.errorcode.get(error.errno or 0, "unknown error")
            raise StorageFull(f"the archive's folder cannot be written ({words})") from error

    def _require_space(self, size: int) -> None:
        if _free_bytes(self._images) - size < self._reserve_bytes:
            raise StorageFull


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


def _free_bytes(folder: Path) -> int:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    facts = os.statvfs(there)
    return facts.f_bavail * facts.f_frsize


def _is_abandoned(path: Path, writer: Writer) -> bool:
    if writer.is_known_to_be_dead():
        return True
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
    except FileNotFoundError:
        return False


def _make_durable_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    _sync_folder(folder.parent)


def _write_durably(target: Path, parts: Sequence[bytes]) -> None:
    part = target.with_name(this_process().new_name())
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for piece in parts:
                _write_all(file.fileno(), piece)
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _write_all(descriptor: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
