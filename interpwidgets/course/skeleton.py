"""The beginning of a chapter: its source, one exercise with everything an exercise has, and its test.

    for path in write(Path("."), "08", "sparse_autoencoders"):
        print(path)

What it writes builds, passes `interpwidgets verify` and is meant to be overwritten sentence by sentence.
"""

import re
from pathlib import Path

from interpwidgets.course import CourseError

_SOURCE = '''\
# %% [markdown]
# # {plain} · {title}
#
# What is this chapter about, and why does it matter? A picture in the first screen.
#
# **You will be able to**
#
# - say in one line what the learner can do afterwards
#
# **Time** 10 minutes. **You need** nothing else: no network, no GPU.

# %% id="setup"
from interpwidgets import answer, check, hint

# %% [markdown]
# ## See it
#
# A widget on a real model, and what to look for.

# %% [markdown]
# ## Build it
#
# Write a function that ... One sentence, then the shapes.


# %% id="{number}.1"
def double(x):
    """Twice x: [any shape]."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% id="{number}.1-check"
check("{number}.1", double)

# %% [markdown]
# Stuck? `hint("{number}.1")`.
#
# ## A question

# %% id="{number}.A"
### BEGIN SOLUTION
answer("{number}.A", 2)
### END SOLUTION

# %% [markdown]
# ## What we did not show
#
# What is simpler here than in the papers, and where to read on.
'''

_EXERCISES = '''\
"""Chapter {number}, {title}: its exercises and questions, in teaching order.

    from interpwidgets.exercises.ch{number} import EXERCISES

A reference lives in `interpwidgets.methods`, not here as this first one does.
"""

import torch
from torch import Tensor

from interpwidgets.course.exercise import Arguments, Case, Exercise, Mistake, Option, Question

TITLE = "{title}"
PART = "Foundations"


def double(x: Tensor) -> Tensor:
    """Twice x: [any shape]."""
    return 2 * x


def _small(seed: int, device: torch.device) -> Arguments:
    return (torch.tensor([1.0, 2.5], device=device),)


def _random(seed: int, device: torch.device) -> Arguments:
    return (torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)).to(device),)


EXERCISES = [
    Exercise(
        id="{number}.1",
        title="Twice as much",
        points=1,
        minutes=2,
        lines=(1, 1),
        reference=double,
        cases=[Case("1 and 2.5", _small), Case("two rows of random numbers", _random)],
        mistakes=[
            Mistake("squared", lambda x: x * x, "You multiply x by itself.", "What is twice 2.5, and what comes out?"),
            Mistake("one more", lambda x: x + 1, "You add one.", "Take x = 2.5 by hand."),
            Mistake("halved", lambda x: x / 2, "You divide by two.", "Should the result be larger than x?"),
        ],
        hints=["What does twice mean for one number?", "One operator between a number and x.", "return NUMBER * x"],
        first_step="write down twice 2.5.",
        accepted=[lambda x: x + x],
    ),
]

QUESTIONS = [
    Question(
        "{number}.A",
        "predict, then look",
        "What is twice nothing?",
        options=[
            Option("Two", "Take the number line: where does twice 0 lie?"),
            Option("Nothing", "Twice 0 is 0.", right=True),
        ],
    ),
]
'''

_TEST = '''\
"""Chapter {number}: solutions pass, stubs fail cleanly, every known mistake is recognised."""

import pytest

from interpwidgets.course.verify import Finding, verify


@pytest.mark.parametrize("finding", list(verify(["{number}"])), ids=str)
def test_the_checks_do_what_they_promise(finding: Finding) -> None:
    assert finding.right, finding
'''


def write(clone: Path, number: str, slug: str) -> list[Path]:
    """Write the three files of a new chapter into a clone; returns their paths.

    Raises `CourseError` if the number or the name is none, or if one of the files is there already.
    """
    if not re.fullmatch(r"\d{1,2}", number):
        raise CourseError(f"The number of a chapter is one or two digits, such as 08; this is {number!r}.")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", slug):
        raise CourseError(
            f"The name of a chapter is small letters and underscores, such as sparse_codes; not {slug!r}."
        )
    if not (clone / "interpwidgets" / "exercises").is_dir():
        raise CourseError("Run this at the top of the clone, where interpwidgets/exercises is.")
    number = f"{int(number):02}"
    title = slug.replace("_", " ").capitalize()
    texts = {
        clone / "solutions" / f"{number}_{slug}.py": _SOURCE,
        clone / "interpwidgets" / "exercises" / f"ch{number}.py": _EXERCISES,
        clone / "tests" / "exercises" / f"test_ch{number}.py": _TEST,
    }
    taken = [*texts, clone / "interpwidgets" / "exercises" / f"ch{number}"]
    if there := next((path for path in taken if path.exists()), None):
        raise CourseError(f"{there} is there already; nothing was written.")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(number=number, plain=int(number), title=title), encoding="utf-8", newline="\n")
    return list(texts)
