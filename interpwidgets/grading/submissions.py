"""The submissions of a class: which notebooks there are, whose they are, and of which chapter.

    for one in find(Path("submissions.zip"), into=Path("work")):
        if one.trouble:
            print(one.where, one.trouble)       # why there is nothing to grade, in a sentence
        else:
            grade(one.student, one.chapter, one.notebook.read_bytes())

    survey(path, into).seen                     # every file that was seen, and what became of it

A folder or a zip file, as course systems lay them out (see `interpwidgets.grading.layouts`) or with one notebook, one
folder or one zip file per student. A student may have sent several chapters: a submission each; and several notebooks
of one chapter: the newest that can be read counts. Which chapter a notebook is of is told by its cells, not its name.

Nothing is extracted: notebooks that belong to a chapter are copied to ``into``, each under the hash of its content, and
nothing else is written. No file stops the others; what cannot be read becomes a submission with ``trouble``.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from interpwidgets.course import CourseError
from interpwidgets.grading import archives, layouts, manifest, notebook
from interpwidgets.grading.archives import File, Refused, TooLarge
from interpwidgets.grading.layouts import Owned, Student
from interpwidgets.grading.notebook import Unreadable

EACH = 40  # notebooks and archives of one student that are looked at
TOLD = 10  # files that were not read, one by one
BYTES = 64_000_000  # of the notebooks of one student together
ALL = 4_000_000_000  # of what is copied

_BYPRODUCT = re.compile(
    r"__MACOSX|\._.*|\.DS_Store|Thumbs\.db|desktop\.ini|\.ipynb_checkpoints|\.git|__pycache__", re.I
)
_NOTEBOOK = re.compile(r".*\.ipynb(?:\.txt|\.json)?", re.I | re.DOTALL)
_ARCHIVE = re.compile(r".*\.(?:zip|tar|tgz|gz|bz2|xz|7z|rar)", re.I | re.DOTALL)
_CALL = re.compile(r"""\b(?:check|answer|hint|solution)\(\s*["']0?(\d{1,2})\.(\d{1,2}|[A-Z])["']""")
_GIVES = re.compile(r"^[ \t]*(?:(?:async[ \t]+)?def[ \t]+(\w+)|(\w+)[ \t]*=(?!=))", re.MULTILINE)


class SubmissionsError(CourseError, ValueError):
    """Why the submissions of a class cannot be looked at at all, in one sentence, and what to do."""


@dataclass(frozen=True)
class Submission:
    """One chapter that a student handed in; or, with ``trouble``, what stands in the way of that.

    ``notebook`` is the copy of it. ``where`` is the file that it was. ``flags`` are facts for the teacher.
    """

    student: Student
    chapter: str = ""
    notebook: Path | None = None
    where: str = ""
    late: bool = False
    flags: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Seen:
    """A file, and what became of it: "graded as chapter 05", "not read: it is a link to another file"."""

    where: str
    became: str


@dataclass(frozen=True)
class Found:
    """All submissions, and all files that were seen."""

    submissions: tuple[Submission, ...]
    seen: tuple[Seen, ...]


def find(path: Path, into: Path) -> Iterator[Submission]:
    """The submissions in a folder or zip file, student by student, in the order of their keys.

    Raises `SubmissionsError` if ``path`` is neither or holds no file that a student could have sent.
    """
    return _Search(path, into).submissions()


def survey(path: Path, into: Path) -> Found:
    """What `find` finds, and what became of every file."""
    search = _Search(path, into)
    submissions = tuple(search.submissions())
    return Found(submissions, tuple(sorted(search.seen, key=lambda one: one.where)))


def chapter_of(found: notebook.Notebook) -> str:
    """The chapter of a notebook: that with the most of its exercises in it; else that with its title; else ""."""
    codes = [cell.source for cell in found.cells if cell.code]
    items = {manifest.sort_of(name)[1] for cell in found.cells for name in cell.names} - {""}
    items |= {f"{call[1].zfill(2)}.{call[2]}" for text in codes for call in _CALL.finditer(text)}
    names = {name[1] or name[2] for text in codes for name in _GIVES.finditer(text)}
    items |= {item for name, (_, item) in manifest.answers().items() if name in names}
    votes = Counter(item[:2] for item in items if item[:2] in manifest.numbers())
    title = manifest.title_of(found)
    titled = next((number for number in manifest.numbers() if title and manifest.manifest(number).title == title), "")
    most = max(votes.values(), default=0)
    best = sorted(number for number, count in votes.items() if count == most)
    return titled if titled and (titled in best or not best) else best[0] if best else ""


# -- looking ------------------------------------------------------------------------------------------------------


@dataclass
class _Pile:
    """What one student sent: the files, each with what its name tells."""

    student: Student
    files: list[tuple[Owned, File]] = field(default_factory=list)


@dataclass(frozen=True)
class _Sheet:
    """A notebook that can be graded."""

    file: File
    owned: Owned
    chapter: str
    copy: Path


class _Search:
    """One walk over the submissions of a class."""

    def __init__(self, path: Path, into: Path) -> None:
        if not path.exists():
            raise SubmissionsError(f"There is nothing at {path}: name a folder or a zip file with submissions.")
        try:
            files = [archives.single(path)] if _is_notebook(path) else list(archives.files(path))
        except (Refused, OSError) as error:
            reason = str(error) if isinstance(error, Refused) else error.strerror
            raise SubmissionsError(
                f"{path} cannot be read as submissions: {reason}. Name a folder or a zip file; if it is a download, "
                "download it again."
            ) from None
        self.seen: list[Seen] = []
        self._into, self._left = into, ALL
        self._piles: dict[str, _Pile] = {}
        self._container(path.resolve().name, files, deep=0)
        if not self._piles:
            raise SubmissionsError(
                f"{path} holds no notebook: expected one per student, a folder per student, or what a course system "
                "downloads."
            )

    def submissions(self) -> Iterator[Submission]:
        """Student by student."""
        same = Counter(key.casefold() for key in self._piles)
        for key in sorted(self._piles):
            told = (
                ("Another student's name differs from this one in capital letters alone.",)
                if same[key.casefold()] > 1
                else ()
            )
            for one in self._of(self._piles.pop(key)):
                yield replace(one, flags=(*told, *one.flags))

    def _note(self, file: File, became: str) -> None:
        self.seen.append(Seen(_printable(file.where), became))

    # -- whose is it? -----------------------------------------------------------------------------------------------

    def _container(self, name: str, files: Sequence[File], deep: int) -> None:
        """Sort the files of a class by student; ``name`` is what the folder or archive is called."""
        login = name.casefold() == "submitted"  # nbgrader's folder
        files = [file for file in files if self._has_place(file) and not self._byproduct(file)]
        tops = {file.parts[0] for file in files if len(file.parts) > 1}
        alone = [file for file in files if len(file.parts) == 1]
        if layouts.is_nbgrader(tops):
            for file in files:
                if file.parts[0] != "submitted":
                    self._note(file, "left out: it is not among what students submitted")
            below = [_below(file) for file in files if file.parts[0] == "submitted" and len(file.parts) > 1]
            return self._container("submitted", below, deep)
        if len(tops) == 1 and not alone and deep < 3 and not login:
            (top,) = tops
            below = [_below(file) for file in files]
            if layouts.of_folder(top) is None and layouts.is_wrapper(top, name, [file.parts for file in below]):
                return self._container(top, below, deep + 1)
        if deep < 3 and (downloads := self._downloads(files, tops, alone)):
            for file in alone:
                self._note(file, "opened" if _ARCHIVE.fullmatch(file.name) else "left out: it is no notebook")
            for title, inner in downloads:
                self._container(title, inner, deep + 1)
            return None
        groups = self._gradescope(alone)
        for file in files:
            self._give(file, groups, login)
        return None

    def _has_place(self, file: File) -> bool:
        """Whether a file is somewhere among the submissions; else it becomes one that says what is wrong."""
        if not file.parts:
            where = _printable(file.where)
            self._put(Owned(Student(f"unnamed:{where}", "unnamed"), where), file)
        return bool(file.parts)

    def _byproduct(self, file: File) -> bool:
        made = any(_BYPRODUCT.fullmatch(part) for part in file.parts)
        if made:
            self._note(file, "left out: a program made it, not a person")
        return made

    def _downloads(self, files: Sequence[File], tops: set[str], alone: Sequence[File]) -> list[tuple[str, list[File]]]:
        """What is inside, if the folder holds nothing but downloads of course systems, folders or zip files.

        One zip file alone is what one student handed in: they would choose whose work is in it.
        """
        if not tops and sum(_ARCHIVE.fullmatch(file.name) is not None for file in alone) == 1:
            return []
        found = []
        for title, inner in self._within(files, tops, alone):
            if layouts.of_folder(title) or layouts.of_file(title) or not layouts.is_class_download(_paths(inner)):
                return []
            found.append((title, inner))
        return found

    def _within(self, files: Sequence[File], tops: set[str], alone: Sequence[File]) -> Iterator[tuple[str, list[File]]]:
        """Folders and archives with their files; what is neither, and might be a student's, has none."""
        for file in alone:
            if _ARCHIVE.fullmatch(file.name) and not file.trouble:
                try:
                    yield file.name, list(archives.inner(file))
                except Refused:
                    yield file.name, []
            elif _NOTEBOOK.fullmatch(file.name) or file.trouble:
                yield file.name, []
        for top in sorted(tops):
            yield top, [_below(file) for file in files if file.parts[0] == top and len(file.parts) > 1]

    def _gradescope(self, alone: Sequence[File]) -> dict[str, list[Student]]:
        for file in alone:
            if file.name == layouts.METADATA and not file.trouble:
                try:
                    text = file.read(notebook.LIMIT).decode("utf-8", "replace")
                except Refused:
                    return {}
                self._note(file, "read: it says who sent what")
                return layouts.of_metadata(text)
        return {}

    def _give(self, file: File, groups: dict[str, list[Student]], login: bool) -> None:
        """Put a file on the pile of its student, or say why it is nobody's."""
        top, folder = file.parts[0], len(file.parts) > 1
        if folder and top in groups:
            for student in groups[top]:
                self._put(Owned(student, file.name), file)
        elif folder:
            self._put(layouts.of_folder(top) or layouts.plain(top, login), file)
        elif owned := layouts.of_file(top):
            self._put(owned, file)
        elif file.trouble or _NOTEBOOK.fullmatch(top) or _ARCHIVE.fullmatch(top):
            self._put(layouts.plain(_stem(top), login), file)
        elif top != layouts.METADATA:
            self._note(file, "left out: it is no notebook")

    def _put(self, owned: Owned, file: File) -> None:
        pile = self._piles.setdefault(owned.student.key, _Pile(owned.student))
        pile.files.append((owned, file))

    # -- what did they send? ----------------------------------------------------------------------------------------

    def _of(self, pile: _Pile) -> Iterator[Submission]:
        """The submissions of one student: one for each chapter, or one that says what is wrong."""
        sheets: list[_Sheet] = []
        wrong: list[tuple[File, str]] = []
        left = BYTES
        for count, (owned, file) in enumerate(self._opened(pile, wrong)):
            try:
                if count >= EACH:
                    raise Refused(f"more than {EACH} files of one student are not read")
                if left <= 0:
                    raise Refused(f"the notebooks of one student together have more than {BYTES / 1e6:.0f} MB")
                data = file.read(notebook.LIMIT)
                left -= len(data)
                sheets.append(self._sheet(owned, file, data))
            except TooLarge:
                left -= notebook.LIMIT
                wrong.append((file, notebook.TOO_LARGE))
            except (Refused, Unreadable) as error:
                wrong.append((file, str(error)))
        told = tuple(f"{_printable(file.where)} was not read: {_sentence(why)}" for file, why in wrong[:TOLD])
        if len(wrong) > TOLD:
            told += (f"And {len(wrong) - TOLD} more files were not read.",)
        for file, why in wrong:
            self._note(file, f"not read: {why}")
        late = any(owned.late for owned, _ in pile.files)
        if not sheets:
            where = _printable((wrong[0] if wrong else pile.files[0][::-1])[0].where)
            reason = _sentence(wrong[0][1]) if wrong else _sentence(self._nothing(pile))
            yield Submission(pile.student, where=where, late=late, flags=told[1:], trouble=reason)
        chapters = sorted({sheet.chapter for sheet in sheets})
        for at, chapter in enumerate(chapters):
            yield self._newest([one for one in sheets if one.chapter == chapter], told if at == 0 else ())

    def _opened(self, pile: _Pile, wrong: list[tuple[File, str]]) -> Iterator[tuple[Owned, File]]:
        """The notebooks of a student, those within an archive too; what is wrong is added to ``wrong``."""
        for owned, file in pile.files:
            if file.trouble:
                wrong.append((file, file.trouble))
            elif _NOTEBOOK.fullmatch(file.name):
                yield owned, file
            elif not _ARCHIVE.fullmatch(file.name):
                self._note(file, "left out: it is no notebook")
            else:
                yield from self._unpacked(owned, file, wrong)

    def _unpacked(self, owned: Owned, file: File, wrong: list[tuple[File, str]]) -> Iterator[tuple[Owned, File]]:
        try:
            if not file.name.lower().endswith(".zip"):
                raise Refused("it is an archive, and only zip files are opened")
            inner = [one for one in archives.inner(file) if not self._byproduct(one)]
        except Refused as error:
            wrong.append((file, str(error)))
            return
        self._note(file, f"opened: {len(inner)} file{'' if len(inner) == 1 else 's'}")
        for one in inner[: 5 * EACH]:
            if one.trouble:
                wrong.append((one, one.trouble))
            elif _NOTEBOOK.fullmatch(one.name):
                yield owned, one
            elif _ARCHIVE.fullmatch(one.name):
                wrong.append((one, "it is an archive within an archive"))
            else:
                self._note(one, "left out: it is no notebook")
        for one in inner[5 * EACH :]:
            wrong.append((one, f"more than {5 * EACH} files of one archive are not read"))

    def _sheet(self, owned: Owned, file: File, data: bytes) -> _Sheet:
        """A notebook that belongs to a chapter, copied. Raises `Unreadable` or `Refused`."""
        found = notebook.read(data)
        chapter = chapter_of(found)
        if not chapter:
            title = manifest.title_of(found)
            called = f' (its title is "{_printable(title, 60)}")' if title else ""
            raise Unreadable(f"It is a notebook, but of no chapter of this course{called}.")
        if not any(cell.kind in ("answer", "question") for cell in manifest.manifest(chapter).cells):
            raise Unreadable(f"It is chapter {chapter}, which has no exercises.")
        if len(data) > self._left:
            raise Refused(f"the submissions together have more than {ALL / 1e9:.0f} GB")
        self._into.mkdir(parents=True, exist_ok=True)
        copy = self._into / f"{hashlib.sha256(data).hexdigest()[:32]}.ipynb"
        if not copy.exists():
            self._left -= len(data)
            copy.write_bytes(data)
        return _Sheet(file, owned, chapter, copy)

    def _nothing(self, pile: _Pile) -> str:
        names = sorted({_printable(file.name, 40) for _, file in pile.files})
        return f"There is no notebook, only {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}"

    def _newest(self, sheets: Sequence[_Sheet], told: tuple[str, ...]) -> Submission:
        *older, last = sorted(sheets, key=lambda one: (one.owned.attempt, one.file.changed, _natural(one.file.where)))
        flags = list(told)
        self._note(last.file, f"graded as chapter {last.chapter}")
        for one in older:
            same = one.copy == last.copy
            self._note(one.file, f"left out: {'the same as' if same else 'older than'} {_printable(last.file.where)}")
            if not same:
                other = _printable(one.file.where)
                flags.append(f"There is another notebook of chapter {last.chapter} ({other}); the newest counts.")
        where = _printable(last.file.where)
        return Submission(last.owned.student, last.chapter, last.copy, where, last.owned.late, tuple(flags))


# -- small things -------------------------------------------------------------------------------------------------


def _is_notebook(path: Path) -> bool:
    return path.is_file() and _NOTEBOOK.fullmatch(path.name) is not None


def _below(file: File) -> File:
    return replace(file, parts=file.parts[1:])


def _paths(files: Sequence[File]) -> list[tuple[str, ...]]:
    return [file.parts for file in files if not any(_BYPRODUCT.fullmatch(part) for part in file.parts)]


def _stem(name: str) -> str:
    return re.sub(r"(?:\.(?:ipynb|txt|json|zip|tar|tgz|gz|bz2|xz|7z|rar))+$", "", name, flags=re.I) or name


def _natural(name: str) -> list[tuple[int, str]]:
    """For an order in which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _printable(text: str, most: int = 200) -> str:
    """A name that any terminal, file and page can show, shortened in its middle."""
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    half = most // 2
    return shown if len(shown) <= most else f"{shown[: half - 1]}…{shown[-half:]}"
