"""What runs inside the sandbox, next to somebody else's code. Nothing here knows an answer, and nobody trusts it.

warm.py     the one process that imports everything, runs no learner code, and forks a keeper for each exercise
walls.py    what keeper and child take from themselves before the first line of the learner's: see its drawing
child.py    runs a learner's cells, calls the answer on the inputs that arrive, sends back plain values
"""

TEMPORARY = "/tmp"  # noqa: S108  (in there: a child's own, and empty)
