"""Durable files: written under a temporary name as their bytes come, then renamed, the whole or nothing.

A machine that dies in between may leave a name whose bytes never reached the disk: names hold a hash of them.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from ich_node.errors import StorageFull
from ich_node.store.writer import this_process

_COPY_BYTES = 1 << 20


class Space:
    """What may be used of a file system: all but the reserve."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder, self._reserve_bytes = folder, reserve_bytes

    def require(self, size: int) -> None:
        """Raise StorageFull where so many bytes more would touch the reserve."""
        if self.free_bytes() - size < self._reserve_bytes:
            raise StorageFull

    def free_bytes(self) -> int:
        """Bytes free for us."""
        try:
            facts = os.statvfs(self._folder)
        except FileNotFoundError:
            facts = os.statvfs(next(path for path in self._folder.parents if path.exists()))
        return facts.f_bavail * facts.f_frsize


class Folders:
    """Makes folders below one, and makes the way to them durable once their first file is."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._known: set[str] = set()  # a few hundred; for threads each of its methods is atomic

    def make(self, folder: Path) -> None:
        """Make a folder and those above it; what is below the top is not durable before `sync`."""
        if folder.is_dir():
            return
        self.make(folder.parent)
        folder.mkdir(mode=0o750, exist_ok=True)
        self._known.discard(str(folder))
        if self._top not in folder.parents:
            _sync_folder(folder.parent)

    def sync(self, folder: Path) -> None:
        """Make what was renamed into a folder durable, and its own way from the top, whoever made it."""
        _sync_folder(folder)
        if str(folder) in self._known or folder == self._top:
            return
        self.sync(folder.parent)
        self._known.add(str(folder))


class Incoming:
    """A file that grows as its bytes come, `preface` first; it counts and hashes what comes behind that.

    Nothing of it stays unless it is kept. An error of the disk is kept for `keep`: whoever receives the
    bytes reads on to their end, and only then answers.
    """

    def __init__(self, folder: Path, preface: bytes, *, folders: Folders, space: Space) -> None:
        self.bytes = 0
        self._folders, self._space = folders, space
        self._begin = len(preface)
        self._digest = hashlib.sha256()
        self._failure: StorageFull | None = None
        self._descriptor = -1
        self._path = folder / this_process().new_name()
        self._kept = False
        with self._failing_later():
            self._descriptor = self._create()
            _write_all(self._descriptor, preface)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()

    @property
    def sha256(self) -> str:
        """The hash of what came so far, as hexadecimal digits."""
        return self._digest.hexdigest()

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.bytes += len(piece)
        if self._failure is None:
            self._digest.update(piece)
            with self._failing_later():
                self._space.require(len(piece))
                _write_all(self._descriptor, piece)
                self._begin_writeback(len(piece))

    def _begin_writeback(self, size: int) -> None:
        """Let the disk begin with what just came: `keep` waits for the rest only.

        The kernel starts to write pages that it is told nobody needs; they stay in memory meanwhile.
        """
        at = self._begin + self.bytes - size
        os.posix_fadvise(self._descriptor, at, size, os.POSIX_FADV_DONTNEED)

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """The bytes behind the preface to read, from offset `begin`; raises StorageFull."""
        self._require_whole()
        with _as_storage_full(), os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(self._begin)
            yield file

    @property
    def begin(self) -> int:
        """Where in the file the bytes behind the preface begin."""
        return self._begin

    def keep(self, target: Path) -> None:
        """Be that file from now on, durably; where it is there already nothing changes. Raises StorageFull.

        Kept again after somebody deleted it, it is there again.
        """
        self._require_whole()
        with _as_storage_full():
            if self._is_there(target):
                self._folders.sync(target.parent)  # its writer may have died before it did this
                return
            if self._kept:
                self._copy()
            if target.parent != self._path.parent:
                self._folders.make(target.parent)
            # before the name: of what could not be synced the kernel tells once, and forgets it
            os.fsync(self._descriptor)
            self._path.replace(target)
            self._folders.sync(target.parent)
            self._kept = True

    def discard(self) -> None:
        """Let go of it; what was kept stays. Any number of times."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):  # it is closed all the same
            os.close(descriptor)
        if not self._kept:
            with suppress(OSError):  # what cannot be removed is swept later
                self._path.unlink()

    def _is_there(self, target: Path) -> bool:
        """Make the same content durable where it is there already; False where it is not, or not whole.

        Of a file whose writer died with its machine the name may be there and the bytes not.
        """
        try:
            with target.open("rb") as file:
                if os.fstat(file.fileno()).st_size != self._begin + self.bytes:
                    return False
                file.seek(self._begin)
                if hashlib.file_digest(file, "sha256").hexdigest() != self.sha256:
                    return False
                os.fsync(file.fileno())
        except OSError:
            return False
        return True

    def _copy(self) -> None:
        """Be a temporary file again, with the same content: the one that was renamed has gone."""
        source, self._path = self._descriptor, self._path.with_name(this_process().new_name())
        self._descriptor, self._kept = self._create(), False
        offset = 0
        try:
            while piece := os.pread(source, _COPY_BYTES, offset):
                _write_all(self._descriptor, piece)
                offset += len(piece)
        finally:
            os.close(source)

    def _create(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            return os.open(self._path, flags, 0o640)
        except FileNotFoundError:
            self._folders.make(self._path.parent)
            return os.open(self._path, flags, 0o640)

    def _require_whole(self) -> None:
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _failing_later(self) -> Iterator[None]:
        try:
            with _as_storage_full():
                yield
        except StorageFull as error:
            self._failure = error
            self.discard()


@contextmanager
def _as_storage_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = errno.errorcode.get(error.errno or 0, "unknown error")
        raise StorageFull(f"the archive's folder cannot be written ({words})") from error


def _write_all(descriptor: int, piece: bytes | memoryview) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
