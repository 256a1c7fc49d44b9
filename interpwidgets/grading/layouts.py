"""Whose file is it? The ways in which course systems lay out the submissions of a class, told by their names.

    of_file("doejane_LATE_1234_56789_05_induction_heads-1.ipynb")     # Canvas: user 1234, file 56789, late
    of_folder("Jane Doe_4711_assignsubmission_file")                  # Moodle: participant 4711
    of_metadata(text)                                                 # Gradescope: {"submission_123": Jane Doe, ...}

What was looked up, and where:

- **Canvas**, "Download submissions": ``name[_LATE]_user_file_original``, and for anonymous assignments
  ``[LATE_]anon_code_file_original``; the name is the sortable one in lower case without spaces and commas; a text or an
  address that was handed in is ``..._text.html`` or ``..._link.html`` (canvas-lms, ``lib/content_zipper.rb``). A file
  that is handed in again under the same name gets -1, -2 ... (``Attachment.make_unique_filename``); the zip file holds
  the last attempt.
- **Moodle**, "Download all submissions": a folder ``Full Name_participant_assignsubmission_file``, in older releases
  with one more ``_`` at its end, or a file whose name begins like that (``mod/assign/classes/downloader.php``).
- **nbgrader**: ``submitted/student/assignment/notebook.ipynb`` ("The philosophy and the approach" in its user guide).
- **Gradescope**, "Export submissions": ``assignment_N_export/submission_M/...`` and beside them a file
  ``submission_metadata.yml`` with ``:submitters:``, each with ``:name:``, ``:sid:`` and ``:email:`` (read from programs
  that use it, otter-grader's among them; Gradescope publishes no description).

Everything else is plain: a file or a folder with the name of the student.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Student:
    """A student, by what the layout tells: ``key`` is never shared by two, all but ``key`` and ``name`` may be "".

    ``key`` is what the layout says, character for character; ``name`` can be shown anywhere.
    ``canvas_id`` and ``moodle_id`` are the numbers by which these systems know the student, ``number`` the one that
    Gradescope calls SID.
    """

    key: str
    name: str
    login: str = ""
    email: str = ""
    number: str = ""
    canvas_id: str = ""
    moodle_id: str = ""


@dataclass(frozen=True)
class Owned:
    """What the name of a file or a folder tells: whose it is, which attempt, whether it is late, how it was called.

    ``attempt`` orders the files of one student, newest last. ``sent`` is the name that the student gave.
    """

    student: Student
    sent: str
    late: bool = False
    attempt: tuple[int, ...] = ()


_CANVAS = re.compile(r"(?P<name>.*?)(?P<late>_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<sent>.+)", re.DOTALL)
_CANVAS_ANONYMOUS = re.compile(r"(?P<late>LATE_)?anon_(?P<user>\w+?)_(?P<file>\d+)_(?P<sent>.+)", re.DOTALL)
_CANVAS_TEXT = re.compile(r"(?P<name>.*?)(?P<late>_LATE)?_(?P<user>\d+)_(?P<sent>(?:text|link)\.html)", re.DOTALL)
_MOODLE = re.compile(r"(?P<name>.+?)_(?P<user>\d+)_assignsubmission_(?:file|onlinetext)_?", re.DOTALL)
_MOODLE_FLAT = re.compile(  # Moodle puts spaces for the _ of a name, so nobody's own file can look like another's here
    r"(?P<name>[^_]+)_(?P<user>\d+)_assignsubmission_(?:file|onlinetext)_(?P<sent>.+)", re.DOTALL
)
_AGAIN = re.compile(r"(?P<name>.*?)(?:-(?P<dash>\d{1,2})| ?\((?P<bracket>\d{1,2})\))?(?P<end>(?:\.\w+)*)", re.DOTALL)
_NBGRADER = frozenset({"submitted", "source", "release", "autograded", "feedback", "solution", "downloaded"})
_EXPORT = re.compile(r"assignment_\d+_export")
_CHAPTER = re.compile(r"\d\d?(?:[_ .()-]|$)")  # the beginning of 05_induction_heads.ipynb
_JOINERS = "\u200c\u200d"  # they show nothing themselves; names in Persian and Hindi are written with them
METADATA = "submission_metadata.yml"


def of_file(name: str) -> Owned | None:
    """Whose a file at the top of a class download is, if Canvas or Moodle named it."""
    if found := _MOODLE_FLAT.fullmatch(name):
        return Owned(_moodle(found), found["sent"], attempt=(_again(found["sent"]),))
    if found := _CANVAS_ANONYMOUS.fullmatch(name) or _CANVAS.fullmatch(name):
        attempt = (int(found["file"]), _again(found["sent"]))
        return Owned(_canvas(found), found["sent"], bool(found["late"]), attempt)
    if found := _CANVAS_TEXT.fullmatch(name):
        return Owned(_canvas(found), found["sent"], bool(found["late"]))
    return None


def of_folder(name: str) -> Owned | None:
    """Whose a folder at the top of a class download is, if Moodle named it."""
    found = _MOODLE.fullmatch(name)
    return Owned(_moodle(found), name) if found else None


def plain(name: str, login: bool = False) -> Owned:
    """The student whose name a file or a folder has; ``login`` if it is the name by which nbgrader knows them."""
    shown = unicodedata.normalize("NFC", name).strip()
    found = _AGAIN.fullmatch(shown)
    if found and found["bracket"] and found["name"].strip():
        shown, attempt = found["name"].strip(), (int(found["bracket"]),)
    else:
        attempt = (0,)
    key = f"name:{shown}" if ":" in shown else shown or "?"
    return Owned(Student(key, printable(shown), shown if login else ""), name, attempt=attempt)


def of_metadata(text: str) -> dict[str, list[Student]]:
    """The students of each folder of a Gradescope export, by the lines of its ``submission_metadata.yml``.

    Only the three keys of ``:submitters:`` are looked for, line by line; the file is not read as YAML.
    """
    found: dict[str, list[dict[str, str]]] = {}
    folder, inside = "", False
    for line in text.split("\n"):
        if head := re.fullmatch(r"(submission_\w+):\s*", line):
            folder, inside = head[1], False
        elif head := re.fullmatch(r"  :(\w+):\s*", line):
            inside = head[1] == "submitters"
        elif folder and inside and (item := re.fullmatch(r"  (  |- ):(name|sid|email):\s*(.*?)\s*", line)):
            people = found.setdefault(folder, [])
            if item[1] == "- " or not people:
                people.append({})
            people[-1][item[2]] = item[3].strip("'\"")
    return {folder: [_gradescope(one) for one in people] for folder, people in found.items()}


def _gradescope(one: dict[str, str]) -> Student:
    known = one.get("sid") or one.get("email") or one.get("name") or "?"
    name = one.get("name") or known
    return Student(f"gradescope:{known}", printable(name), email=one.get("email", ""), number=one.get("sid", ""))


def _canvas(found: re.Match[str]) -> Student:
    name = found.groupdict().get("name")
    if name is None:
        return Student(f"canvas:anon_{found['user']}", f"anonymous {found['user']}")
    key = f"canvas:{found['user']}:{name}"  # with the name: somebody's own files may look like this and mean else
    return Student(key, printable(name) or f"user {found['user']}", canvas_id=found["user"])


def _moodle(found: re.Match[str]) -> Student:
    return Student(f"moodle:{found['user']}", printable(found["name"]), moodle_id=found["user"])


def printable(name: str) -> str:
    """A name as any terminal and page can show it: nothing that rings, moves or colours, turns, or is half."""
    spaced = (" " if unicodedata.category(one) == "Zs" else one for one in name)
    return "".join(one if one.isprintable() or one in _JOINERS else "\N{REPLACEMENT CHARACTER}" for one in spaced)


def _again(name: str) -> int:
    """The number of a file that was handed in again: 2 for ``hw-2.ipynb`` and ``hw (2).ipynb``."""
    found = _AGAIN.fullmatch(name)
    return int(found["dash"] or found["bracket"] or 0) if found else 0


# -- whole downloads ----------------------------------------------------------------------------------------------


def is_wrapper(name: str, container: str, below: Sequence[tuple[str, ...]]) -> bool:
    """Whether the only folder of a container just wraps the class; ``below`` are the paths in it."""
    own = container.casefold().removesuffix(".zip")
    return (
        name.casefold() in (own, "submitted", "submissions")
        or _EXPORT.fullmatch(name) is not None
        or is_class_download(below)
        or _is_class(below)
    )


def _is_class(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether several things stand side by side that are not the chapters of one student."""
    sent = {parts[0] for parts in paths if parts and re.search(r"\.(?:ipynb|zip)$", parts[-1], re.I)}
    return len(sent) > 1 and not all(_CHAPTER.match(name) for name in sent)


def is_class_download(paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether a course system named everything at the top: Canvas, Moodle, Gradescope, or nbgrader's folder."""
    tops = {(parts[0], len(parts) > 1) for parts in paths if parts}
    if (METADATA, False) in tops or ("submitted", True) in tops:
        return True
    return bool(tops) and all(of_folder(name) if folder else of_file(name) for name, folder in tops)


def is_nbgrader(folders: set[str]) -> bool:
    """Whether these are the folders of a course of nbgrader, of which only one holds what students handed in."""
    return "submitted" in folders and folders <= _NBGRADER
