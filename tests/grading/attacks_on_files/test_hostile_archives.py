"""What archives and folders of submissions do to graders, one row each: nothing happens, and the report says so.

Every attack stands beside the honest notebook of another student, which must be found as if nothing were wrong.
"""

import io
import json
import os
import socket
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from interpwidgets.course.chapters import find as chapter
from interpwidgets.grading.submissions import Found, SubmissionsError, survey

FIVE = chapter("05", "chapters").read_bytes()
CANARY = b"as it was"
Members = list[tuple[str | zipfile.ZipInfo, bytes]]


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def zipped(members: Members, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def bits(data: bytes, local: int, central: int, value: int) -> bytes:
    """An archive of one file with a field of both of its headers set."""
    out = bytearray(data)
    struct.pack_into("<H", out, data.index(b"PK\x03\x04") + local, value)
    struct.pack_into("<H", out, data.index(b"PK\x01\x02") + central, value)
    return bytes(out)


def lying(data: bytes, size: int) -> bytes:
    """An archive of one file that says in its headers that the file is so large."""
    out = bytearray(data)
    struct.pack_into("<I", out, data.index(b"PK\x03\x04") + 22, size)
    struct.pack_into("<I", out, data.index(b"PK\x01\x02") + 24, size)
    return bytes(out)


def many(count: int) -> bytes:
    """An archive with so many empty files."""
    return zipped([(f"{n}.ipynb", b"") for n in range(count)], zipfile.ZIP_STORED)


def nested(depth: int) -> bytes:
    data = FIVE
    name = "05.ipynb"
    for _ in range(depth):
        data, name = zipped([(name, data)]), "inner.zip"
    return data


@cache
def bomb() -> bytes:
    return zipped([("05.ipynb", bytes(40_000_000))])


# What mallory.zip holds; what the report must say of it, or of a file in it.
ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "path traversal": (lambda: zipped([("../../canary", FIVE)]), "leads out of the archive"),
    "path traversal with backslashes": (lambda: zipped([("..\\..\\canary", FIVE)]), "leads out of the archive"),
    "path traversal in the middle": (lambda: zipped([("a/../../canary", FIVE)]), "leads out of the archive"),
    "absolute path": (lambda: zipped([("/var/canary", FIVE)]), "leads out of the archive"),
    "path of another drive": (lambda: zipped([("C:/canary", FIVE)]), "leads out of the archive"),
    "link": (lambda: zipped([(entry("05.ipynb", stat.S_IFLNK | 0o777), b"../canary")]), "link to another file"),
    "link to a folder": (
        lambda: zipped([(entry("a", stat.S_IFLNK | 0o777), b"/"), ("a/x.ipynb", b"")]),
        "link to another file",
    ),
    "device": (lambda: zipped([(entry("05.ipynb", stat.S_IFCHR | 0o666), b"")]), "a pipe, a device or a socket"),
    "pipe": (lambda: zipped([(entry("05.ipynb", stat.S_IFIFO | 0o666), b"")]), "a pipe, a device or a socket"),
    "zip bomb": (bomb, "more than 8 MB"),
    "zip bomb that says it is small": (lambda: lying(bomb(), 1000), "damaged"),
    "zip bomb in a zip file": (lambda: zipped([("a.zip", bomb())]), "an archive within an archive"),
    "zip files in zip files": (lambda: nested(20), "an archive within an archive"),
    "many files": (lambda: many(21_000), "holds 21,000 files"),
    "many files in an archive within": (lambda: zipped([("a.zip", many(3_000))]), "an archive within an archive"),
    "many large files": (
        lambda: zipped([(f"{n}.ipynb", bytes(7_900_000)) for n in range(10)]),
        "together have more than 64 MB",
    ),
    "encrypted": (lambda: bits(zipped([("05.ipynb", FIVE)]), 6, 8, 1), "encrypted"),
    "unknown compression": (lambda: bits(zipped([("05.ipynb", FIVE)]), 8, 10, 98), "compressed in a way"),
    "lzma": (lambda: zipped([("05.ipynb", FIVE)], zipfile.ZIP_LZMA), "compressed in a way"),
    "truncated": (lambda: zipped([("05.ipynb", FIVE)])[:-40], "not a whole one"),
    "cut in the middle": (lambda: zipped([("05.ipynb", FIVE)])[:5000], "not a whole one"),
    "damaged data": (
        lambda: zipped([("05.ipynb", FIVE)]).replace(zipped([("05.ipynb", FIVE)])[200:300], bytes(100)),
        "damaged",
    ),
    "not a zip file": (lambda: b"\x7fELF" + bytes(1000), "no zip archive"),
    "empty": (lambda: b"", "no zip archive"),
    "a notebook called zip": (lambda: FIVE, "no zip archive"),
    "control characters in a name": (lambda: zipped([("\x1b[31m05.ipynb", FIVE)]), "cannot be shown"),
    "writing turned around": (lambda: zipped([("05\u202ebnypi.exe.ipynb", FIVE)]), "cannot be shown"),
    "a new line in a name": (lambda: zipped([("05\nada: 100.ipynb", FIVE)]), "cannot be shown"),
    "a name of 300 characters": (lambda: zipped([("x" * 300 + ".ipynb", FIVE)]), "longer than 255"),
    "a path of 40 folders": (lambda: zipped([("a/" * 40 + "05.ipynb", FIVE)]), "nested too deeply"),
    "a name of nothing": (lambda: zipped([("./.", FIVE)]), "or is empty"),
    "a null in a name": (lambda: zipped([("05.ipynb", FIVE)]).replace(b"05.ipynb", b"05\x00.ipyn"), "cannot be shown"),
    "a program": (lambda: zipped([("run.exe", b"MZ")]), "no notebook"),
}


class World:
    """A home with a canary, a class in it, and what a survey of the class finds and leaves behind."""

    def __init__(self, home: Path) -> None:
        self.home, self.classroom, self.into = home, home / "class", home / "into"
        self.classroom.mkdir()
        (home / "canary").write_bytes(CANARY)
        (self.classroom / "ada.ipynb").write_bytes(FIVE)

    def files(self) -> dict[Path, bytes | None]:
        found = [one for one in self.home.rglob("*") if self.into not in one.parents and one != self.into]
        return {one: one.read_bytes() if one.is_file() and not one.is_symlink() else None for one in found}

    def survey(self) -> Found:
        before = self.files()
        found = survey(self.classroom, self.into)
        assert self.files() == before
        assert all(one.parent == self.into and one.is_file() for one in self.into.rglob("*"))
        (ada,) = [one for one in found.submissions if one.student.name == "ada"]
        assert (ada.chapter, ada.trouble) == ("05", "")
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def told(found: Found, name: str = "mallory") -> str:
    """All that the report says about somebody, and nothing in it can harm a terminal or a page."""
    theirs = [one for one in found.submissions if one.student.name == name]
    assert theirs
    assert all(one.isprintable() for sub in theirs for one in (sub.trouble, sub.where, *sub.flags))
    assert all(one.where.isprintable() and one.became.isprintable() for one in found.seen)
    return " ".join([text for one in theirs for text in (one.trouble, *one.flags)] + [one.became for one in found.seen])


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_of_a_student_changes_nothing_and_is_told(world: World, name: str) -> None:
    data, says = ARCHIVES[name]
    (world.classroom / "mallory.zip").write_bytes(data())
    assert says in told(world.survey())


@pytest.mark.parametrize("name", ["path traversal", "absolute path", "link", "zip bomb", "encrypted", "pipe"])
def test_a_hostile_file_in_the_archive_of_a_whole_class_changes_nothing(world: World, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(ARCHIVES[name][0]())) as hostile:
        (bad,) = hostile.infolist()
        flags = bad.flag_bits
        bad.flag_bits = 0
        data = hostile.read(bad) if not flags & 1 else b""
    packed = zipped([(bad, data), ("ada.ipynb", FIVE)])
    if flags & 1:
        packed = bits(packed, 6, 8, 1)
    (world.home / "class.zip").write_bytes(packed)
    found = survey(world.home / "class.zip", world.into)
    assert [one.student.name for one in found.submissions if one.chapter] == ["ada"]
    assert any(ARCHIVES[name][1] in one.became for one in found.seen)


def test_a_name_given_twice_is_two_files_and_the_last_counts(world: World) -> None:
    other = json.dumps({**json.loads(FIVE), "metadata": {"attempt": 2}}).encode()
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped([("05.ipynb", FIVE), ("05.ipynb", other)])
    (world.classroom / "mallory.zip").write_bytes(data)
    found = world.survey()
    assert "the newest counts" in told(found)
    (theirs,) = [one for one in found.submissions if one.student.name == "mallory"]
    assert theirs.notebook
    assert theirs.notebook.read_bytes() == other


def _pipe(place: Path) -> None:
    os.mkfifo(place)


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place)[-100:] if len(str(place)) < 100 else os.path.relpath(place))


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "link to a file": (lambda place: place.symlink_to("../canary"), "link to another file"),
    "link to nothing": (lambda place: place.symlink_to("nowhere"), "link to another file"),
    "link to the device of zeros": (lambda place: place.symlink_to("/dev/zero"), "link to another file"),
    "folders in a circle": (lambda place: place.symlink_to("."), "link to another file"),
    "pipe": (_pipe, "a pipe, a device or a socket"),
    "socket": (_socket, "a pipe, a device or a socket"),
}


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and sockets as files are made the POSIX way")
@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("place", ["mallory.ipynb", "mallory/05.ipynb"])
def test_what_is_no_plain_file_in_a_folder_is_not_opened_and_is_told(world: World, name: str, place: str) -> None:
    make, says = FOLDERS[name]
    (world.classroom / place).parent.mkdir(exist_ok=True)
    make(world.classroom / place)
    assert says in told(world.survey())


def test_a_folder_link_in_a_circle_ends(world: World) -> None:
    (world.classroom / "mallory").mkdir()
    (world.classroom / "mallory/again").symlink_to(world.classroom)
    assert "link to another file" in told(world.survey())


@pytest.fixture
def locked(world: World) -> Iterator[Path]:
    place = world.classroom / "mallory"
    place.mkdir()
    place.chmod(0)
    yield place
    place.chmod(0o700)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_told(world: World, locked: Path) -> None:
    assert "cannot be read" in told(world.survey())


def test_a_folder_with_too_many_files_ends_and_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interpwidgets.grading.archives.ENTRIES", 30)
    (world.classroom / "mallory").mkdir()
    for n in range(40):
        (world.classroom / f"mallory/{n:02}.ipynb").write_bytes(b"")
    assert "more than 30 files" in told(world.survey())


def test_the_archive_of_a_class_that_is_damaged_is_refused_in_a_sentence(world: World) -> None:
    whole = zipped([("ada.ipynb", FIVE)])
    for name, data in {"cut": whole[:-30], "empty": b"", "other": b"GIF89a" + bytes(100), "many": many(21_000)}.items():
        (world.home / f"{name}.zip").write_bytes(data)
        with pytest.raises(SubmissionsError) as error:
            survey(world.home / f"{name}.zip", world.into)
        assert str(error.value).endswith("download it again.")
    assert not world.into.exists()
