"""The page for the teacher: which exercises are hard, which mistakes came up, who is where, what to look at.

    class_report(grades, Notes(batch="3fa9...", seconds=11), page_of)      # a whole HTML document

``page_of(student)`` is the address of that student's feedback page, or "". Everything about one chapter stands
together; students are sorted by points; questions stand apart from exercises and count for no points.
"""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from html import escape

from interpwidgets.course.markup import mark, prose
from interpwidgets.grading.gradebooks import UNSAFE, twice
from interpwidgets.grading.grades import Grade, Mark, Who
from interpwidgets.grading.pages import count, day, legend, page, person, shown, standing, warning
from interpwidgets.grading.statistics import Item, Known, items, question_items, slips, tried

PageOf = Callable[[Who], str]

_SHOWN = 8  # known mistakes


@dataclass(frozen=True)
class Notes:
    """What the page says about the run: its batch and release, how long it took, who handed in nothing (by chapter),
    files that were seen and not graded with the reason, and sentences about the gradebooks."""

    batch: str
    release: str
    seconds: float = 0.0
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Sequence[tuple[str, str]] = ()
    gradebooks: Sequence[str] = ()


def class_report(grades: Sequence[Grade], notes: Notes, page_of: PageOf) -> str:
    """The page; ``grades`` of any mix of chapters, in any order."""
    chapters = sorted({grade.chapter for grade in grades if grade.graded})
    alone = len(chapters) == 1
    head = _head(grades, chapters, alone)
    unsafe = warning(UNSAFE) if any(grade.unsafe for grade in grades) else ""
    parts = [
        _chapter([one for one in grades if one.graded and one.chapter == at], notes, page_of, alone) for at in chapters
    ]
    rest = _rest(notes, {grade.source for grade in grades})
    return page("Class report", head, unsafe, _lost(grades), *parts, rest, _foot(grades, notes), wide=True)


def _head(grades: Sequence[Grade], chapters: Sequence[str], alone: bool) -> str:
    students = count(len({grade.student.key for grade in grades}), "student")
    graded = f"graded {day(max((grade.when for grade in grades), default=''))}"
    what = next(_title(grade) for grade in grades if grade.graded) if alone else count(len(chapters), "chapter")
    return (
        '<div class="gr-head"><h1>Class report</h1>'
        f'<span class="iwr-quiet">{shown(what)} · {students} · {graded}</span></div>'
    )


def _title(grade: Grade) -> str:
    return f"{grade.chapter} {grade.title}"


def _chapter(grades: Sequence[Grade], notes: Notes, page_of: PageOf, alone: bool) -> str:
    grades = sorted(grades, key=lambda one: (-one.earned, one.student.name.casefold(), one.student.key))
    title = "" if alone else f'<div class="gr-head"><h2>{shown(_title(grades[0]))}</h2></div>'
    found, asked = items(grades), question_items(grades)
    above = _cols(
        ("gr-main", _exercises(found) + _questions(asked)),
        ("gr-aside", _mistakes(slips(grades), len(grades)) + _lesson(slips(grades), found)),
    )
    aside = _look(grades, notes.missing.get(grades[0].chapter, ())) + _points(grades)
    below = _cols(("gr-fit", _matrix(grades, page_of) + legend()), ("gr-side", aside))
    return f'<section class="gr-chapter">{title}{above}{below}</section>'


def _cols(*parts: tuple[str, str]) -> str:
    return f'<div class="gr-cols">{"".join(f"<div class={kind}>{part}</div>" for kind, part in parts)}</div>'


def _heading(text: str, aside: str = "") -> str:
    quiet = f'<span class="iwr-quiet">{escape(aside)}</span>' if aside else ""
    return f'<div class="gr-title"><h2>{escape(text)}</h2>{quiet}</div>'


# -- exercises and questions --------------------------------------------------------------------------------------


def _exercises(found: Sequence[Item]) -> str:
    wordy = any(one.words for one in found)
    rows = "".join(
        f'<tr><th scope="row">{escape(one.id)} <span class="iwr-quiet">{escape(one.name)}</span></th>'
        f'<td class="gr-bar">{_bar(one, "tried")}</td><td class="gr-n"><b>{one.share} %</b></td>'
        + (f'<td class="gr-say gr-wordy">{escape(one.words)}</td></tr>' if wordy else "</tr>")
        for one in found
    )
    head = (
        '<tr><th scope="col">exercise</th><th scope="col">passed, tried, not started</th>'
        '<th scope="col" class="gr-n">passed</th>'
    ) + ('<th scope="col" class="gr-wordy">what it tells</th></tr>' if wordy else "</tr>")
    note = (
        '<p class="gr-after gr-wordy">Sorts the class: those who pass have more points elsewhere. '
        "The other way round: fewer.</p>"
        if any(one.correlation is not None for one in found)
        else ""
    )
    return _heading("Exercises", "students who passed each") + _table("gr-items", "Exercises", head, rows) + note


def _questions(found: Sequence[Item]) -> str:
    if not found:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(one.id)} <span class="iwr-quiet">{escape(one.name)}</span></th>'
        f'<td class="gr-bar">{_bar(one, "answered otherwise")}</td><td class="gr-n"><b>{one.share} %</b></td></tr>'
        for one in found
    )
    head = (
        '<tr><th scope="col">question</th><th scope="col">right, otherwise, not answered</th>'
        '<th scope="col" class="gr-n">right</th></tr>'
    )
    heading = _heading("Questions", "counted apart, no points of the exercises")
    return f'<div class="gr-block">{heading}{_table("gr-items", "Questions", head, rows)}</div>'


def _table(kind: str, label: str, head: str, rows: str) -> str:
    region = f'class="gr-scroll" tabindex="0" role="region" aria-label="{escape(label)}"'
    return f'<div {region}><table class="{kind}"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _bar(one: Item, other: str) -> str:
    """Counts in exercise marks: full for passed, half for tried, an outline for the rest."""
    scale = 168 / one.students if one.students else 0
    passed, begun = one.passed * scale, one.tried * scale
    label = f"{one.passed} passed, {one.tried} {other}, {one.open} not started"
    return (
        f'<svg viewBox="0 0 168 12" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '<rect x=".5" y=".5" width="167" height="11" fill="none" stroke="var(--line)" '
        f'vector-effect="non-scaling-stroke"/><rect width="{passed:.1f}" height="12" fill="var(--ink1)"/>'
        f'<rect x="{passed:.1f}" y="6" width="{begun:.1f}" height="6" fill="var(--ink3)"/></svg>'
    )


# -- known mistakes -----------------------------------------------------------------------------------------------


def _mistakes(found: Sequence[Known], students: int) -> str:
    heading = _heading("Known mistakes", "students who made each")
    if not found:
        return f'{heading}<p class="iwr-quiet">None of the known mistakes came up.</p>'
    most = found[0].students
    rows = "".join(
        f'<div class="gr-known"><span>{escape(one.id)}</span><span>{prose(_capital(one.slip.name))}</span>'
        f'<span class="gr-meter" style="--w:{100 * one.students / most:.0f}%"><i></i></span><b>{one.students}</b></div>'
        for one in found[:_SHOWN]
    )
    more = f'<p class="gr-after">and {len(found) - _SHOWN} more</p>' if len(found) > _SHOWN else ""
    return heading + rows + more


def _lesson(found: Sequence[Known], exercises: Sequence[Item]) -> str:
    """What is worth time with all: a mistake that two students share, else the exercise in which most got stuck."""
    if found and found[0].students > 1:
        return _shared(found[0], exercises[0].students)
    worst = max(exercises, key=lambda one: one.tried)
    if not worst.tried:
        return ""
    stuck = "tried it and did not pass" if worst.tried > 1 else "tried it and does not pass yet"
    return (
        f'<p class="gr-lesson"><b>For the next lesson:</b> {escape(worst.id)} {escape(worst.name)}. '
        f"{worst.tried} of {worst.students} {stuck}, and no two made the same known mistake.</p>"
    )


def _shared(first: Known, students: int) -> str:
    following = re.sub(r"^next:\s*", "", first.slip.next, flags=re.IGNORECASE)
    case = f"<details><summary>Open the case</summary>{first.picture}</details>" if first.picture else ""
    return (
        f'<p class="gr-lesson"><b>For the next lesson:</b> {first.students} of {students} made the same known mistake '
        f"in {escape(first.id)}, {prose(first.slip.name)}. They read: “{prose(first.slip.sentence)}”</p>"
        f'<p class="gr-lesson">A question to ask them: {prose(following)}</p>{case}'
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# -- students x exercises -----------------------------------------------------------------------------------------


def _matrix(grades: Sequence[Grade], page_of: PageOf) -> str:
    first, double = grades[0], twice(grades)
    columns = "".join(f'<th scope="col" class="gr-m">{escape(one.id)}</th>' for one in first.marks)
    asked = "".join(f'<th scope="col" class="gr-m">{escape(one.id)}</th>' for one in first.replies)
    head = (
        f'<tr><th scope="col">student, by points</th>{columns}<th scope="col" class="gr-n">of {first.points}</th>'
        f"{asked}</tr>"
    )
    rows = "".join(_student(grade, page_of, double) for grade in grades)
    return _heading("Students × exercises") + _table("gr-matrix", "Students by exercises", head, rows)


def _student(grade: Grade, page_of: PageOf, double: set[str]) -> str:
    cells = "".join(f'<td class="gr-m">{standing("exercise", _state(one))}</td>' for one in grade.marks)
    asked = "".join(
        f'<td class="gr-m">{standing("question", "done" if one.earned else "tried" if one.given else "open")}</td>'
        for one in grade.replies
    )
    sign = mark("warning", 12).replace("known mistake", "please look at") if _flagged(grade) else ""
    name = _linked(grade, page_of, double)
    return (
        f'<tr><th scope="row"><span class="gr-who">{name}{sign}</span></th>{cells}'
        f'<td class="gr-n"><b>{grade.earned}</b></td>{asked}</tr>'
    )


def _linked(grade: Grade, page_of: PageOf, double: set[str]) -> str:
    told = person(grade.student.name)
    if grade.student.name in double:
        told += f' <span class="iwr-quiet">{shown(grade.student.login or grade.student.key, 40)}</span>'
    address = page_of(grade.student)
    return f'<a href="{escape(address)}">{told}</a>' if address else told


def _state(one: Mark) -> str:
    return "done" if one.state == "passed" else "tried" if tried(one) else "open"


def _flagged(grade: Grade) -> bool:
    return bool(grade.flags or grade.late or any(one.unusual for one in grade.marks))


# -- what to look at ----------------------------------------------------------------------------------------------


def _look(grades: Sequence[Grade], missing: Sequence[str]) -> str:
    flagged = [grade for grade in grades if _flagged(grade)]
    heading = _heading("Please look at", count(len(flagged), "submission"))
    parts = [_flags(grade) for grade in flagged]
    if not flagged:
        parts.append('<p class="gr-after">Nothing stands out.</p>')
    else:
        parts.append('<p class="gr-after">A flag is a question, not a verdict. It takes no points itself.</p>')
    if missing:
        names = ", ".join(person(name) for name in missing)
        parts.append(
            f'<div class="gr-block">{_heading("Nothing handed in", count(len(missing), "student"))}<p>{names}</p>'
            '<p class="gr-lesson iwr-quiet">They get no grade, not zero; you decide.</p></div>'
        )
    return heading + "".join(parts)


def _flags(grade: Grade) -> str:
    told = ["Handed in late. No points were taken away."] if grade.late else []
    told += [f"{one.id}: {one.error}" for one in grade.marks if one.unusual]
    lines = "".join(f"<p>{shown(one)}</p>" for one in [*told, *grade.flags][:12])
    return f'<div class="gr-look">{mark("warning", 12)}<div><b>{person(grade.student.name)}</b>{lines}</div></div>'


def _points(grades: Sequence[Grade]) -> str:
    points = [grade.earned for grade in grades]
    heading = _heading("Points", f"mean {sum(points) / len(points):.1f} of {grades[0].points}")
    return f'<div class="gr-block">{heading}{_histogram(points, grades[0].points)}</div>'


def _histogram(points: Sequence[int], most: int) -> str:
    wide = next(size for size in range(1, most + 2) if -(-(most + 1) // size) <= 8)
    bins = [(low, min(low + wide - 1, most)) for low in range(0, most + 1, wide)]
    counts = [sum(low <= one <= high for one in points) for low, high in bins]
    drawn = zip(bins, counts, strict=True)
    bars = (_column(at, 320 / len(bins), *bin_, 56 * n / (max(counts) or 1), n) for at, (bin_, n) in enumerate(drawn))
    told = ", ".join(f"{n} with {low} to {high}" for (low, high), n in zip(bins, counts, strict=True) if n)
    return (
        f'<svg class="gr-histogram" viewBox="0 0 320 92" width="320" style="max-width:100%" role="img" '
        f'aria-label="Students by points: {told}">{"".join(bars)}<path d="M0 72.5H316" stroke="var(--edge)"/></svg>'
    )


def _column(at: int, unit: float, low: int, high: int, height: float, students: int) -> str:
    """One column of the histogram, with its points below and its students on top."""
    x, middle = at * unit, at * unit + unit / 2 - 2
    label = f"{low}" if low == high else f"{low}–{high}"
    rect = f'<rect x="{x:.1f}" y="{72 - height:.1f}" width="{unit - 4:.1f}" height="{height:.1f}" fill="var(--ink2)"/>'
    below = f'<text x="{middle:.1f}" y="88" text-anchor="middle">{label}</text>'
    above = f'<text class="gr-b" x="{middle:.1f}" y="{68 - height:.1f}" text-anchor="middle">{students}</text>'
    return f"{rect}{below}{above if students else ''}"


# -- the end ------------------------------------------------------------------------------------------------------


def _lost(grades: Sequence[Grade]) -> str:
    lost = [(grade.student.name, grade.source, grade.trouble) for grade in grades if not grade.graded]
    rows = "".join(
        f'<div class="gr-look">{mark("stopped", 12)}<div><b>{person(name)}</b> '
        f'<span class="iwr-quiet">{shown(source, 120)}</span><p>{shown(trouble)}</p></div></div>'
        for name, source, trouble in sorted(lost)
    )
    heading = _heading("Not graded", count(len(lost), "submission"))
    return f'<section class="gr-chapter">{heading}{rows}</section>' if lost else ""


def _rest(notes: Notes, known: Set[str]) -> str:
    """Gradebooks, and files of which nothing is said elsewhere on the page."""
    files = [(name, why) for name, why in notes.files if name not in known and not name.endswith("timestamp.txt")]
    parts = []
    if notes.gradebooks:
        told = "".join(f"<p>{shown(sentence, 1000)}</p>" for sentence in notes.gradebooks)
        parts.append(f'<div class="gr-block">{_heading("Gradebooks")}{told}</div>')
    if files:
        rows = "".join(
            f'<tr><th scope="row">{shown(name, 120)}</th><td class="gr-say">{shown(why)}</td></tr>'
            for name, why in files
        )
        head = '<tr><th scope="col">file</th><th scope="col">what became of it</th></tr>'
        table = _table("gr-items", "Files", head, rows)
        parts.append(
            f"<details class=gr-block><summary>{count(len(files), 'other file')} seen</summary>{table}</details>"
        )
    return f'<section class="gr-chapter">{"".join(parts)}</section>' if parts else ""


def _foot(grades: Sequence[Grade], notes: Notes) -> str:
    graded = sum(grade.graded for grade in grades)
    took = f" in {notes.seconds:.0f} s" if notes.seconds >= 1 else ""
    dot = f'<span><span class="gr-dot"></span>{graded} of {len(grades)} graded{took}</span>'
    if any(grade.unsafe for grade in grades):
        room = f"<span>{mark('stopped', 10)}no sandbox, inputs fresh for each student</span>"
    else:
        room = f"<span>{mark('tick', 10)}sandbox on, inputs fresh for each student</span>"
    batch = f"<span>interpwidgets {escape(notes.release)}, batch {escape(notes.batch)}</span>"
    return f'<div class="gr-foot">{dot}{room}{batch}</div>'
