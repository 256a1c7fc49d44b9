"""Files of folders and archives are read within bounds, and names lead nowhere."""

import contextlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.grading import archives
from interpwidgets.grading.archives import File, Refused, files, inner, single
from interpwidgets.grading.submissions import SubmissionsError, survey


def archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members:
            out.writestr(name, data)
    return path


def test_a_folder_and_an_archive_of_it_hold_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "class/ada").mkdir(parents=True)
    (tmp_path / "class/ada/1.ipynb").write_bytes(b"one")
    (tmp_path / "class/2.ipynb").write_bytes(b"two")
    packed = archive(tmp_path / "class.zip", ("ada/", b""), ("ada/1.ipynb", b"one"), ("2.ipynb", b"two"))
    for path in (tmp_path / "class", packed):
        assert {file.parts: file.read(3) for file in files(path)} == {("ada", "1.ipynb"): b"one", ("2.ipynb",): b"two"}


def test_reading_stops_at_the_bound_whatever_the_archive_says_of_itself(tmp_path: Path) -> None:
    (file,) = files(archive(tmp_path / "x.zip", ("zeros", bytes(10_000_000))))
    assert len(file.read(10_000_000)) == 10_000_000
    with pytest.raises(Refused, match="more than 1 MB"):
        file.read(1_000_000)


def test_a_file_alone_is_read_within_the_bound(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert single(tmp_path / "x").read(5) == b"12345"
    with pytest.raises(Refused):
        single(tmp_path / "x").read(4)


def test_a_file_that_became_a_link_since_it_was_listed_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "class/x").write_bytes(b"mine")
    (file,) = files(tmp_path / "class")
    (tmp_path / "class/x").unlink()
    (tmp_path / "class/x").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="cannot be read"):
        file.read(100)


def test_an_archive_in_an_archive_is_opened(tmp_path: Path) -> None:
    inside = archive(tmp_path / "inner.zip", ("a", b"1")).read_bytes()
    (file,) = files(archive(tmp_path / "x.zip", ("inner.zip", inside)))
    (one,) = inner(file)
    assert (one.where, one.read(1)) == ("x.zip/inner.zip/a", b"1")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/b", ("a", "b")),
        ("./a//b", ("a", "b")),
        ("a\\b", ("a", "b")),
        ("é/ß", ("é", "ß")),
        ("../a", ()),
        ("a/../../b", ()),
        ("a\\..\\b", ()),
        ("/etc/passwd", ()),
        ("\\\\host\\share\\x", ()),
        ("C:\\x", ()),
        ("c:x", ()),
        ("..", ()),
    ],
)
def test_a_name_is_a_path_within_the_archive_or_none_at_all(tmp_path: Path, name: str, parts: tuple[str, ...]) -> None:
    (file,) = files(archive(tmp_path / "x.zip", (name, b"data")))
    assert file.parts == parts
    assert bool(file.trouble) == (not parts)
    if not parts:
        with pytest.raises(Refused, match="leads out"):
            file.read(10)


def test_a_table_of_contents_out_of_all_measure_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "INDEX", 100)
    with pytest.raises(Refused, match="table of contents"):
        files(archive(tmp_path / "x.zip", *((str(n), b"") for n in range(10))))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_no_bytes_raise_anything_but_refused(data: bytes) -> None:
    file = File("x", ("x",), _open=lambda: io.BytesIO(data))
    with pytest.raises(Refused):
        list(inner(file))


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=6))
def test_no_damage_raises_anything_but_refused(cut: int, flips: list[tuple[int, int]]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("a.ipynb", "b/c.ipynb", "d.zip"):
            packed.writestr(name, b"some text, some text, some text")
    data = bytearray(out.getvalue())
    for at, value in flips:
        data[at % len(data)] = value
    damaged = bytes(data[: max(0, len(data) - cut)]) if cut < 50 else bytes(data)
    with contextlib.suppress(Refused):
        for file in inner(File("x", ("x",), _open=lambda: io.BytesIO(damaged))):
            file.read(1000)


_NAMES = (
    st.lists(
        st.sampled_from(
            ["..", ".", "a", "b.ipynb", "c.zip", "", "/", "\\", "C:", "~", "\x00", "\n", "é", "submitted", "-rf"]
        ),
        min_size=1,
        max_size=6,
    )
    .map("/".join)
    .filter(lambda name: name.partition("\x00")[0])
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=100, deadline=None)
@given(names=st.lists(_NAMES, min_size=1, max_size=5), nested=st.lists(_NAMES, max_size=3))
def test_no_names_write_anywhere_but_into(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], nested: list[str]
) -> None:
    home = tmp_path_factory.mktemp("home")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for name in nested:
            out.writestr(name, b"{}")
    path = archive(home / "class.zip", *((name, packed.getvalue()) for name in names))
    before = {one: one.read_bytes() for one in home.rglob("*") if one.is_file()}
    with contextlib.suppress(SubmissionsError):
        survey(path, home / "into")
    assert {one: one.read_bytes() for one in home.rglob("*") if one.is_file()} == before
