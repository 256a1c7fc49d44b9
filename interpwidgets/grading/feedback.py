"""The page that a student gets back: first what they can do, then what was seen, exercise by exercise.

    feedback(grades)        # a whole HTML document of one student's grades, one part for each chapter

It shows what `check` shows in the notebook: the verdict, a known mistake, the smallest failing input with target,
answer and difference, and one thing to do next. It says "you", states facts and never the answer.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape

from interpwidgets.course.markup import div, mark, prose
from interpwidgets.grading.gradebooks import HAND_IN, UNSAFE
from interpwidgets.grading.grades import Grade, Mark, Reply
from interpwidgets.grading.pages import count, day, page, person, shown, standing, warning
from interpwidgets.grading.statistics import tried

_BYTES = re.compile(r"allocate (\d{10,30}) bytes")
_PACKAGE = re.compile(r"ModuleNotFoundError: No module named '([\w.]{1,80})'")


def feedback(grades: Sequence[Grade]) -> str:
    """The page of one student; the grades are theirs, one for each chapter."""
    first = grades[0]
    parts = [_chapter(grade, alone=len(grades) == 1) for grade in grades]
    if len(grades) > 1:
        parts.insert(0, f'<div class="gr-head"><h1>{person(first.student.name)}</h1></div>')
    return page(f"Feedback for {first.student.name}", *parts)


def _chapter(grade: Grade, alone: bool) -> str:
    points = f"<span><b>{grade.earned} of {grade.points}</b> points</span>" if grade.graded else ""
    title = shown(f"{grade.chapter} {grade.title}".strip() or "Not graded")
    looked = f"graded {day(grade.when)}" if grade.graded else f"looked at {day(grade.when)}"
    meta = f"{title} · {looked}" if alone else looked
    meta += " · handed in late" if grade.late else ""
    name = f"<h1>{person(grade.student.name)}</h1>" if alone else f"<h2>{title}</h2>"
    head = (
        f'<div class="gr-head">{name}<span class="iwr-quiet">{meta}</span><span class="gr-spring"></span>{points}</div>'
    )
    unsafe = warning(UNSAFE) if grade.unsafe else ""
    if not grade.graded:
        told = f'<p class="gr-open">{shown(grade.trouble)}</p>'
        if not grade.unfinished:  # that would be ours to mend
            told += f'<p class="gr-open"><b>Next:</b> {prose(HAND_IN)}</p>'
        return f'<section class="gr-chapter">{head}{unsafe}{told}</section>'
    level = "h2" if alone else "h3"
    rows = "".join(_exercise(one, level) for one in grade.marks) + "".join(
        _question(one, level) for one in grade.replies
    )
    opening = f'<p class="gr-open">{prose(opened(grade))}</p>'
    return f'<section class="gr-chapter">{head}{unsafe}{opening}{rows}{_noticed(grade)}{_foot(grade)}</section>'


# -- the opening --------------------------------------------------------------------------------------------------


def opened(grade: Grade) -> str:
    """What this student can do, and where to go on: two or three sentences."""
    passed = [one for one in grade.marks if one.state == "passed"]
    left = [one for one in grade.marks if one.state != "passed"]
    if not left:
        return f"You can write every function of this chapter: all {count(len(passed), 'exercise')} agree in all cases."
    start = next((one for one in left if tried(one)), left[0])
    can = _can(passed, grade.marks)
    if start.mistake:
        what = f"go on with {start.id} `{start.name}`: a known mistake explains the difference."
    elif tried(start):
        what = f"go on with {start.id} `{start.name}`, where you have begun."
    else:
        what = f"begin with {start.id} `{start.name}`."
    return f"{can} {what[0].upper()}{what[1:]}" if not passed else f"{can} Of what is left, {what}"


def _can(passed: Sequence[Mark], marks: Sequence[Mark]) -> str:
    if passed:
        names = [f"`{one.name}`" for one in passed]
        if len(names) > 4:
            names = [*names[:3], f"{len(names) - 3} more functions"]
        told = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
        agrees = "it agrees" if len(passed) == 1 else "they agree"
        return f"You can write {told}: {agrees} with the reference in all cases."
    begun = [one for one in marks if tried(one)]
    if not begun:
        return "Nothing is started yet. That is where everyone starts."
    whole = next((one for one in begun if any(name.startswith("shape") for name in one.held)), None)
    already = f" Your `{whole.name}` already returns a result of the right shape." if whole else ""
    return f"You have begun {count(len(begun), 'exercise')} of {len(marks)}.{already}"


# -- the rows -----------------------------------------------------------------------------------------------------


def _exercise(one: Mark, level: str) -> str:
    state = "done" if one.state == "passed" else "tried" if tried(one) else "open"
    head = f"<{level}>{escape(one.id)} {escape(one.name)}</{level}>"
    points = f'<span class="gr-pts"><b>{one.earned}</b> <span class="iwr-quiet">of {one.points}</span></span>'
    return div("gr-row", standing("exercise", state), head, points, div("gr-body", *_told(one)))


def _told(one: Mark) -> Iterator[str]:
    if one.state == "passed":
        yield f"<p>{prose(one.headline)}</p>"
        return
    if one.state in ("unstarted", "missing"):
        said = one.sentences[0] if one.state == "missing" and one.sentences else "Not started."
        yield f'<p class="iwr-quiet">{prose(shown_plain(said))}</p>'
        return
    if one.mistake:
        yield (
            f'<p><span class="gr-known-name">Known mistake: {prose(one.mistake.name)}.</span> '
            f"{prose(one.mistake.sentence)}</p>"
        )
    else:
        yield f"<p>{_lead(one)}</p>"
    if one.error:
        yield _stop(one)
    elif not one.mistake:
        yield from (f"<p>{prose(shown_plain(sentence))}</p>" for sentence in one.sentences)
    yield one.picture
    if following := _next(one):
        yield f"<p><b>Next:</b> {prose(following)}</p>"


def _lead(one: Mark) -> str:
    held = len(one.held) if one.state == "differs" else 0
    holds = "" if not held else f"{held} properties hold. " if held > 1 else "One property holds. "
    return f"{holds}{prose(shown_plain(one.line))}"


def _stop(one: Mark) -> str:
    rows = "".join(
        f"<div{' class=iwr-here' if at == one.at else ''}><i>{at}</i><span>{shown(line)}</span></div>"
        for at, line in one.lines
    )
    code = f'<div class="iwr-code">{rows}</div>' if rows else ""
    read = "".join(f"<p><b>How we read it:</b> {prose(shown_plain(sentence))}</p>" for sentence in one.sentences)
    return f'{code}<p><span class="iwr-error">{shown(_error(one.error))}</span></p>{read}'


def _error(error: str) -> str:
    """Python's sentence, with sizes that a person can read."""
    if asked := _BYTES.search(error):
        return f"{error.partition(':')[0]}: it asks for {int(asked[1]) / 1e9:,.1f} GB of memory at once"
    if package := _PACKAGE.match(error):
        return f"ModuleNotFoundError: {package[1]} is not there when answers are graded"
    return error


def _next(one: Mark) -> str:
    if one.mistake:
        return re.sub(r"^next:\s*", "", one.mistake.next, flags=re.IGNORECASE)
    if _PACKAGE.match(one.error):
        return "write it without this package, with torch."
    if one.next:
        return shown_plain(one.next)
    if not one.case or not one.broken.startswith("values"):
        return ""
    return (
        f'run `check("{one.id}", {one.name})` in the notebook: it shows this case, “{shown_plain(one.case)}”. '
        "Then work one value out by hand."
    )


def shown_plain(text: str) -> str:
    """Text from outside before it is escaped: no control characters, of bounded length."""
    return "".join(one if one.isprintable() else "·" for one in text[:600])


def _question(reply: Reply, level: str) -> str:
    state = "done" if reply.earned else "tried" if reply.given else "open"
    head = f"<{level}>{escape(reply.id)} {escape(reply.title)}</{level}>"
    points = (
        f'<span class="gr-pts"><b>{reply.earned}</b> <span class="iwr-quiet">of {reply.points}, apart</span></span>'
    )
    if not reply.given:
        said = '<p class="iwr-quiet">Not answered.</p>'
    else:
        said = f"<p>Your answer: {shown(reply.given)}. {prose(shown_plain(reply.said))}</p>"
    return div("gr-row", standing("question", state), head, points, div("gr-body", said))


def _noticed(grade: Grade) -> str:
    if not grade.flags:
        return ""
    told = "".join(f"<p>{shown(_told_to_them(flag))}</p>" for flag in grade.flags)
    lost = any("was left out" in flag for flag in grade.flags)
    note = "" if lost else '<p class="iwr-quiet">A flag is a question, not a verdict. No points were taken away.</p>'
    return f'<div class="gr-row">{mark("warning", 12)}<div><b>Noticed in your notebook</b>{told}{note}</div></div>'


def _told_to_them(flag: str) -> str:
    """A flag without the places where the teacher keeps the files."""
    return re.sub(r"\([^()]{0,400}/([^()/]{1,200}\.ipynb)\)", r"(\1)", flag)


def _foot(grade: Grade) -> str:
    passed = sum(one.state == "passed" for one in grade.marks)
    room = "without a sandbox" if grade.unsafe else "in a sandbox"
    inputs = f'<span><span class="gr-dot"></span>Graded on the CPU {room}, with inputs made for you</span>'
    tick = f"<span>{mark('tick', 10)}{passed} of {count(len(grade.marks), 'exercise')} pass</span>"
    apart = "<span>Questions are counted apart from exercises</span>" if grade.replies else ""
    again = f"<span>interpwidgets {escape(grade.version)}, batch {escape(grade.batch)}</span>"
    return f'<div class="gr-foot">{inputs}{tick}{apart}{again}</div>'
