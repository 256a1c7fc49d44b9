"""The files in a folder or in a zip archive, without trust in either.

    for file in files(Path("submissions.zip")):
        if file.trouble:
            print(file.where, file.trouble)         # "submissions.zip/../../x", "its name leads out of the archive"
        else:
            data = file.read(8_000_000)             # at most so many bytes, or `Refused` with a sentence

Nothing is ever extracted: a file is read into memory, up to a bound that does not rest on what the archive says about
itself. Links are not followed, and what is no plain file (a pipe, a device, a socket) is not opened. Names are only
words here; nobody writes to them. A file with ``trouble`` is listed and cannot be read; one whose name leads elsewhere
has no ``parts`` at all.
"""

import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from interpwidgets.course import CourseError

ENTRIES, WITHIN = 20_000, 2_000  # files of one archive or folder, and of an archive within one
INDEX = 16_000_000  # bytes of an archive's table of contents
INNER = 32_000_000  # bytes of an archive within an archive
NAME, PATH, DEPTH = 255, 1_000, 16  # characters of a name and of a whole path, and folders in folders

_TURNS = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}  # characters that turn the direction of writing


class Refused(CourseError, ValueError):
    """Why a file or an archive is not read, in a few words that complete "it was not read: ..."."""


class TooLarge(Refused):
    """A file has more bytes than were to be read."""


@dataclass(frozen=True)
class File:
    """A file of a folder or an archive: its path in parts, when it was changed (seconds), and what is wrong with it."""

    where: str
    parts: tuple[str, ...]
    changed: float = 0.0
    trouble: str = ""
    _path: Path | None = field(default=None, repr=False)
    _open: Callable[[], IO[bytes]] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.parts[-1] if self.parts else ""

    def read(self, most: int) -> bytes:
        """The content. Raises `Refused` if it has more than ``most`` bytes or is damaged."""
        if self._open is None:
            raise Refused(self.trouble or "it is no file")
        with _refusing(), self._open() as stream:
            data = stream.read(most + 1)
            while len(data) <= most and (more := stream.read(most + 1 - len(data))):
                data += more
        if len(data) > most:
            raise TooLarge(f"it has more than {most / 1e6:.0f} MB")
        return data


@contextmanager
def _refusing() -> Iterator[None]:
    """Whatever goes wrong with reading is `Refused`."""
    try:
        yield
    except Refused:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error):
        raise Refused("it is damaged") from None
    except (OSError, RuntimeError, ValueError, NotImplementedError) as error:
        raise Refused(f"it cannot be read ({type(error).__name__})") from None


def files(path: Path) -> Iterator[File]:
    """The files of a folder or a zip archive, in the order of their names. Raises `Refused` if it is neither."""
    if path.is_dir():
        return _of_folder(path)
    with path.open("rb") as stream:
        _measured(stream, path.stat().st_size)
    return _of_archive(path.name, path, ENTRIES)


def single(path: Path) -> File:
    """A file that stands for itself."""
    return File(path.name, (path.name,), path.stat().st_mtime, _open=lambda: _plain(path.resolve()))


def inner(file: File) -> Iterator[File]:
    """The files of an archive within a folder or an archive. Raises `Refused`."""
    if file._path:  # on a disk it may be the download of a whole class, and stays there
        with _refusing(), _plain(file._path) as stream:
            _measured(stream, os.fstat(stream.fileno()).st_size)
        return _of_archive(file.where, file._path, ENTRIES)
    data = file.read(INNER)
    _measured(io.BytesIO(data), len(data))
    return _of_archive(file.where, io.BytesIO(data), WITHIN)


# -- archives -----------------------------------------------------------------------------------------------------


def _measured(stream: IO[bytes], size: int) -> None:
    """Look at the end of an archive, where its table of contents is announced, before all of the table is read."""
    tail_size = min(size, 65_557)
    stream.seek(size - tail_size)
    tail = stream.read(tail_size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise Refused("it is no zip archive, or not a whole one")
    (table,) = struct.unpack("<I", tail[at + 12 : at + 16])
    if table == 0xFFFFFFFF and (far := tail.rfind(b"PK\x06\x06", 0, at)) >= 0 and len(tail) >= far + 48:
        (table,) = struct.unpack("<Q", tail[far + 40 : far + 48])
    if table > INDEX:
        raise Refused("its table of contents is larger than that of any class")
    stream.seek(0)


def _of_archive(where: str, source: Path | io.BytesIO, most: int) -> Iterator[File]:
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error, OverflowError, EOFError):
        raise Refused("it is no zip archive, or not a whole one") from None
    entries = archive.infolist()
    if len(entries) > most:
        raise Refused(f"it holds {len(entries):,} files, and at most {most:,} are read")
    entries = [entry for entry in entries if not (entry.orig_filename.endswith("/") and not entry.file_size)]
    entries.sort(key=lambda entry: (entry.orig_filename, entry.header_offset))
    return (_in_archive(where, archive, entry) for entry in entries)


def _in_archive(where: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> File:
    name = entry.orig_filename.replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        parts = ()
    shown = f"{where}/{name.lstrip('/')}"
    if trouble := _wrong_path(name, parts) or _wrong_entry(entry):
        return File(shown, parts, trouble=trouble)
    return File(shown, parts, _time(entry), _open=lambda: archive.open(entry))


def _wrong_entry(entry: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "it is a link to another file"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is no plain file but a pipe, a device or a socket"
    if entry.flag_bits & 0x2041:
        return "it is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is compressed in a way that is not read: make the zip file anew"
    return ""


def _time(entry: zipfile.ZipInfo) -> float:
    try:
        return datetime(*entry.date_time).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


# -- folders ------------------------------------------------------------------------------------------------------


def _of_folder(top: Path) -> Iterator[File]:
    count = 0
    todo: list[tuple[Path, tuple[str, ...]]] = [(top, ())]
    while todo:
        folder, before = todo.pop()
        deeper: list[tuple[Path, tuple[str, ...]]] = []
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield File("/".join(before), before, trouble=f"the folder cannot be read ({error.strerror})")
            continue
        for entry in entries:
            parts = (*before, entry.name)
            count += 1
            if count > ENTRIES:
                told = f"the folder holds more than {ENTRIES:,} files; this and all after it were not read"
                yield File("/".join(parts), parts, trouble=told)
                return
            if entry.is_dir(follow_symlinks=False) and not _wrong_path("/".join(parts), parts):
                deeper.append((Path(entry.path), parts))
            else:
                yield _of_entry(entry, parts)
        todo += reversed(deeper)


def _of_entry(entry: "os.DirEntry[str]", parts: tuple[str, ...]) -> File:
    where = "/".join(parts)
    if trouble := _wrong_path(where, parts):
        return File(where, parts, trouble=trouble)
    if entry.is_symlink():
        return File(where, parts, trouble="it is a link to another file")
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return File(where, parts, trouble=f"it cannot be read ({error.strerror})")
    if not stat.S_ISREG(status.st_mode):
        return File(where, parts, trouble="it is no plain file but a pipe, a device or a socket")
    path = Path(entry.path)
    return File(where, parts, status.st_mtime, _path=path, _open=lambda: _plain(path))


def _plain(path: Path) -> IO[bytes]:
    """A file opened for reading, if it still is a plain file: no link is followed, no pipe waited for."""
    careful = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # each system has some
    opened = os.open(path, os.O_RDONLY | sum(careful))
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError("no plain file")
    return os.fdopen(opened, "rb")


# -- names --------------------------------------------------------------------------------------------------------


def _wrong_path(name: str, parts: tuple[str, ...]) -> str:
    """Why a path is not taken, or ""."""
    if not parts:
        return "its name leads out of the archive, or is empty"
    if len(name) > PATH or any(len(part) > NAME for part in parts) or len(parts) > DEPTH:
        return f"its name is longer than {NAME} characters, or its folders are nested too deeply"
    if any(unicodedata.category(one) in ("Cc", "Cs") or one in _TURNS for one in name):
        return "its name holds characters that cannot be shown"
    return ""
