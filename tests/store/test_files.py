"""The archive's files: durable, once, never by half."""

import errno
import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR

import pytest
from reception import write

from ich_node.errors import StorageFull
from ich_node.store.files import Archive, name_of
from ich_node.store.writer import Writer, this_process

NAME = name_of("1.2.3", "ab" * 32)


def test_a_name_depends_on_the_uid_and_on_the_bytes_and_shows_neither() -> None:
    other = {name_of("1.2.4", "ab" * 32), name_of("1.2.3", "cd" * 32)}

    assert NAME not in other
    assert "1.2.3" not in NAME
    assert NAME.count("/") == 1
    assert len(NAME) <= 255


def test_what_is_written_is_there_as_a_whole_and_no_temporary_file_stays(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_mb=0)

    write(archive, NAME, (b"one ", b"two"))

    assert archive.read(NAME) == b"one two"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive.path(NAME)]


def test_before_a_file_counts_as_kept_it_is_synced_and_so_is_each_folder_on_the_way_to_it(
    tmp_path: Path,
) -> None:
    program = (
        "from ich_node.store.files import Archive\n"
        "from pathlib import Path\n"
        f"archive = Archive(Path({str(tmp_path)!r}), reserve_mb=0)\n"
        "with archive.receive('1.2.3', b'one') as incoming:\n"
        "    incoming.write(b'two')\n"
        f"    archive.keep(incoming, {NAME!r})\n"
        "    calls.append('kept')\n"
    )
    audit = (
        "import sys, os\n"
        "calls = []\n"
        "def note(name, real):\n"
        "    def wrapped(*a, **k):\n"
        "        folder = name == 'fsync' and os.path.isdir(f'/proc/self/fd/{a[0]}')\n"
        "        calls.append(name + (' folder' if folder else ' file'))\n"
        "        return real(*a, **k)\n"
        "    return wrapped\n"
        "os.fsync = note('fsync', os.fsync)\n"
        "os.replace = note('rename', os.replace)\n"
        "os.write = note('write', os.write)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", audit + program + "print(*calls, sep=chr(10))"],
        capture_output=True,
        text=True,
        check=True,
    )

    calls = done.stdout.splitlines()
    written = calls.index("write file")
    assert calls[written : written + 4] == ["write file", "write file", "fsync file", "rename file"]
    assert calls[written + 4 :] == ["fsync folder"] * 3 + ["kept"]  # its own and the new ones


def test_the_same_name_again_writes_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_mb=0)
    write(archive, NAME, (b"by", b"tes"))
    before = archive.path(NAME).stat()

    write(archive, NAME, (b"by", b"tes"))

    assert archive.path(NAME).stat().st_ino == before.st_ino


def test_a_name_whose_bytes_were_lost_is_written_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_mb=0)
    name = name_of("1.2.3", hashlib.sha256(b"tes").hexdigest())
    write(archive, name, (b"by", b"tes"))
    archive.path(name).write_bytes(b"\0" * 5)  # as after a loss of power between the name and the bytes

    write(archive, name, (b"by", b"tes"))

    assert archive.read(name) == b"bytes"


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_what_cannot_be_synced_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    archive, real = Archive(tmp_path, reserve_mb=0), os.fsync

    def _fsync(descriptor: int) -> None:
        if S_ISDIR(os.fstat(descriptor).st_mode) == (lost == "folder"):
            raise OSError(errno.EIO, "lost")
        real(descriptor)

    (tmp_path / "images" / NAME).parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", _fsync)

    with pytest.raises(StorageFull, match="EIO"):
        write(archive, NAME, (b"by", b"tes"))
    # sent again, a file would be found in the kernel's memory, whose next sync says that all is well
    assert archive.exists(NAME) == (lost == "folder")


def test_below_the_reserve_nothing_is_written(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_mb=1 << 40)

    with pytest.raises(StorageFull):
        write(archive, NAME, (b"by", b"tes"))

    assert not archive.exists(NAME)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_disk_that_is_full_leaves_no_half_file_and_is_said_in_words(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        with pytest.raises(StorageFull, match=r"ENOSPC|reserve"):
            write(Archive(small, reserve_mb=0), NAME, (bytes(40_000), bytes(40_000)))
        left = [path for path in small.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(small)], check=True)

    assert left == []


def test_a_folder_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file where the folder should be")

    with pytest.raises(StorageFull, match=r"ENOTDIR|EEXIST"):
        write(Archive(tmp_path, reserve_mb=0), NAME, (b"by", b"tes"))


def test_deleting_what_is_gone_does_no_harm(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_mb=0)
    write(archive, NAME, (b"by", b"tes"))

    archive.delete([NAME, NAME])

    assert not archive.exists(NAME)
    with pytest.raises(FileNotFoundError):
        archive.read(NAME)


def test_a_temporary_name_tells_its_writer() -> None:
    name = this_process().new_name()

    assert Writer.from_name(name) == this_process()
    assert not this_process().is_known_to_be_dead()
    assert Writer.from_name("notes.txt") is None


def test_what_cannot_be_looked_at_is_not_there_and_stops_no_sweep(tmp_path: Path) -> None:
    archive = Archive(tmp_path, reserve_mb=0)
    write(archive, NAME, (b"by", b"tes"))
    dangling, circle = name_of("1.2.3", "cd" * 32), name_of("1.2.3", "ef" * 32)
    archive.path(dangling).symlink_to("nowhere")
    archive.path(circle).symlink_to(archive.path(circle).name)

    swept = list(archive.sweep(written_before=datetime(2100, 1, 1, tzinfo=UTC)))

    assert swept == [[NAME]]
    assert [archive.exists(name) for name in (NAME, dangling, circle)] == [True, False, False]


def test_what_cannot_be_removed_is_left_to_the_sweep(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive", reserve_mb=0)
    incoming = archive.receive("1.2.3", b"preface")
    (part,) = (tmp_path / "archive").rglob("*.part*")
    part.parent.rename(tmp_path / "away")
    part.parent.write_text("no folder any more")

    incoming.discard()

    assert (tmp_path / "away" / part.name).is_file()
