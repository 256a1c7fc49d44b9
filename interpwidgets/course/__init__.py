"""The engine of the course: it knows what a chapter is, not which chapters there are."""


class CourseError(Exception):
    """Something a person can put right; the message says what was expected, what came and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook prints: the message; the way through our code would help nobody."""
        return [str(self)]
