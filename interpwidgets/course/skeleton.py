"""The beginning of a chapter: its source, a place for its first picture, one exercise with everything that an exercise
has, and the reference of that exercise.

    for path in write(Path("."), "08", "sparse_autoencoders"):
        print(path)

What it writes builds, passes `interpwidgets verify` and the tests that all chapters share; overwrite it sentence by
sentence. It needs no test of its own: those in tests/exercises run over all chapters that there are.
"""

import re
from pathlib import Path

from PIL import Image

from interpwidgets.course import CourseError

_SOURCE = '''\
# %% [markdown]
# # {plain} · {title}
#
# ![A grey area, where the first picture of this chapter will be.](pictures/{slug}.png)
#
# What is this chapter about, and why does it matter? The picture shows it before a formula does.
#
# **You will be able to**
#
# - say in one line what the learner can do afterwards
#
# **Time** 10 min, 1 exercise, 1 question · **difficulty** ●○○○○ · **you need** nothing else: no network, no GPU.

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

[exercise.id for exercise in EXERCISES]       # ["{number}.1"]
"""

import torch

from interpwidgets.course.exercise import Arguments, Case, Exercise, Mistake, Option, Question
from interpwidgets.methods.{slug}_steps import double

TITLE = "{title}"
PART = "Foundations"


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
        first_step="Write down twice 2.5.",
        accepted=[lambda x: x + x, lambda x: x.mul(2), lambda x: torch.stack([x, x]).sum(0)],
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

_METHODS = '''\
"""The steps of chapter {number}, {title}: the references of its exercises.

    from interpwidgets.methods.{slug}_steps import double

    double(torch.tensor([1.0, 2.5]))              # [2, 5]

Each reads like the paper that it comes from: tensors in, tensors out; paper, section and equation in its docstring.
"""

from jaxtyping import Float
from torch import Tensor


def double(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Twice x."""
    return 2 * x
'''


def write(clone: Path, number: str, slug: str) -> list[Path]:
    """Write the files of a new chapter into a clone; returns their paths.

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
        clone / "interpwidgets" / "methods" / f"{slug}_steps.py": _METHODS,
    }
    picture = clone / "solutions" / "pictures" / f"{slug}.png"
    taken = [*texts, picture, clone / "interpwidgets" / "exercises" / f"ch{number}"]
    if there := next((path for path in taken if path.exists()), None):
        raise CourseError(f"{there} is there already; nothing was written.")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        filled = text.format(number=number, plain=int(number), title=title, slug=slug)
        path.write_text(filled, encoding="utf-8", newline="\n")
    picture.parent.mkdir(exist_ok=True)
    Image.new("L", (640, 160), 230).save(picture)
    return [*texts, picture]
