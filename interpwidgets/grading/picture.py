"""What a feedback page shows of a verdict that is not a pass: drawn while the arrays are at hand, kept as text.

    drawn(verdict)      # a piece of HTML in the classes of course/report.css, or ""

A grade keeps no arrays. The pieces come from `interpwidgets.course.report`, so a learner sees the same input, target,
answer and difference as in the notebook. Everything in them is escaped, and they need no script.
"""

from interpwidgets.course.differences import failing_input, panels
from interpwidgets.course.markup import side_by_side
from interpwidgets.course.report import chips
from interpwidgets.course.verdict import Verdict

LIMIT = 60_000  # characters; larger pictures are left out, their sentences stay


def drawn(verdict: Verdict) -> str:
    """The axes that differ with the smallest failing input, or that input, target, answer and difference."""
    if not (failure := verdict.failure):
        return ""
    parts = []
    try:
        if failure.chips:
            parts.append(chips(*failure.chips))
        if failure.comparison:
            parts.append(panels(verdict, failure.comparison))
        elif failure.chips and verdict.arguments:
            parts.append(side_by_side([failing_input(verdict)]))
    except Exception:  # a picture that fails costs nobody the grade
        return ""
    picture = "".join(parts)
    return picture if len(picture) <= LIMIT else ""
