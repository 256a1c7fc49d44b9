"""What a class did, counted: how many passed each exercise, whether it parts the class, and which mistakes came up.

    items(grades)[3].passed             # how many passed "05.4"
    items(grades)[3].words              # "sorts the class"
    slips(grades)[0].students           # how many made the most frequent known mistake

Facility is the share of students who pass. Discrimination is the correlation, over students, of passing an exercise
with the points in all the others (Pearson; corrected for the exercise itself), told in words and only for twenty
students or more: with fewer it is mostly chance. "Sorts the class" is a correlation of 0.5 or more, "sorts a little" of
0.2, "the other way round" of less than -0.1.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from interpwidgets.grading.grades import Grade, Mark, Slip

ENOUGH = 20  # students, before a correlation is worth a word


@dataclass(frozen=True)
class Item:
    """One exercise or question over all students; ``correlation`` is None where it cannot be known."""

    id: str
    name: str
    points: int
    students: int
    passed: int
    tried: int
    stopped: int
    correlation: float | None

    @property
    def open(self) -> int:
        """How many never began."""
        return self.students - self.passed - self.tried

    @property
    def share(self) -> int:
        """Passed, in percent."""
        return round(100 * self.passed / self.students) if self.students else 0

    @property
    def words(self) -> str:
        """What the figures say, for a teacher."""
        return ", ".join(filter(None, [_parts(self.correlation), _stopped(self)]))


@dataclass(frozen=True)
class Known:
    """A known mistake of one exercise, how many students made it, and a picture of it if one was drawn."""

    id: str
    slip: Slip
    students: int
    picture: str = ""


def tried(mark: Mark) -> bool:
    """Begun and not passed."""
    return mark.state in ("differs", "stopped")


def items(grades: Sequence[Grade]) -> list[Item]:
    """The exercises in the order of the chapter."""
    graded = [grade for grade in grades if grade.marks]
    found = []
    for at, first in enumerate(graded[0].marks if graded else ()):
        column = [grade.marks[at] for grade in graded]
        passes = [float(mark.earned > 0) for mark in column]
        rest = [float(grade.earned - mark.earned) for grade, mark in zip(graded, column, strict=True)]
        found.append(
            Item(
                first.id,
                first.name,
                first.points,
                len(column),
                sum(mark.state == "passed" for mark in column),
                sum(tried(mark) for mark in column),
                sum(mark.state == "stopped" for mark in column),
                correlation(passes, rest) if len(column) >= ENOUGH else None,
            )
        )
    return found


def question_items(grades: Sequence[Grade]) -> list[Item]:
    """The questions in the order of the chapter; ``tried`` counts those who answered and were not right."""
    graded = [grade for grade in grades if grade.replies]
    found = []
    for at, first in enumerate(graded[0].replies if graded else ()):
        column = [grade.replies[at] for grade in graded]
        right = sum(reply.earned > 0 for reply in column)
        answered = sum(bool(reply.given) for reply in column)
        found.append(Item(first.id, first.title, first.points, len(column), right, answered - right, 0, None))
    return found


def slips(grades: Sequence[Grade]) -> list[Known]:
    """The known mistakes, the most frequent first."""
    count: Counter[tuple[str, Slip]] = Counter()
    pictures: dict[tuple[str, Slip], str] = defaultdict(str)
    for grade in grades:
        for mark in grade.marks:
            if mark.mistake:
                key = (mark.id, mark.mistake)
                count[key] += 1
                pictures[key] = pictures[key] or mark.picture
    return [Known(id, slip, students, pictures[id, slip]) for (id, slip), students in count.most_common()]


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation of two series; None if one of them is constant."""
    means = [math.fsum(series) / len(series) for series in (one, other)]
    left, right = ([value - mean for value in series] for series, mean in zip((one, other), means, strict=True))
    size = math.sqrt(math.fsum(x * x for x in left) * math.fsum(y * y for y in right))
    return math.fsum(x * y for x, y in zip(left, right, strict=True)) / size if size else None


def _stopped(item: Item) -> str:
    return f"{item.stopped} stop with an error" if item.stopped >= max(2, item.students / 10) else ""


def _parts(found: float | None) -> str:
    if found is None:
        return ""
    if found >= 0.5:
        return "sorts the class"
    if found >= 0.2:
        return "sorts a little"
    return "says little about the rest" if found >= -0.1 else "the other way round: look at it"
