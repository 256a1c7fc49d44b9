"""What there is to solve: one module per chapter, with a list ``EXERCISES`` and a list ``QUESTIONS``.

    from interpwidgets.course.registry import exercise

    exercise("05.5").reference        # interpwidgets/exercises/ch05.py holds it

The engine that compares answers is `interpwidgets.course`; here is only content.
"""
