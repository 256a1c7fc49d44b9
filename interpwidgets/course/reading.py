"""Python's error messages, read aloud to somebody who meets them for the first time.

failure = stopped(outcome.error, seconds=10)
failure.headline            # "in your line 4."
failure.stop.message        # "index 8 is out of bounds for dimension 2 with size 8"
failure.sentences           # ["Dimension 2 has 8 entries, so its last index is 7; your code asks for index 8."]
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from interpwidgets.course.attempt import Stopped
from interpwidgets.course.kinds import kind
from interpwidgets.course.verdict import Failure, Stop

_Reading = Callable[[re.Match[str]], str]

# A message may come from a stranger: no pattern here takes more than linear time, no number more than 18 digits.

_SENTENCES: list[tuple[str, str, str | _Reading]] = [
    (
        "IndexError",
        r"index (-?\d{1,18}) is out of bounds for dimension (\d{1,18}) with size (\d{1,18})\b",
        lambda m: (
            f"Dimension {m[2]} has {m[3]} entries, so its last index is {int(m[3]) - 1}; your code asks for {m[1]}."
        ),
    ),
    ("IndexError", r"too many indices for tensor of dimension (\d+)", r"The tensor has \1 axes and you index more."),
    ("IndexError", r"Dimension out of range", "You name an axis that this tensor does not have."),
    ("IndexError", r"list index out of range", "The list is shorter than your index."),
    (
        "RuntimeError",
        r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)",
        r"Two tensors meet whose axes have \1 and \2 entries, so they do not fit together.",
    ),
    (
        "RuntimeError",
        r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)",
        r"A matrix product needs the same length in the middle; here it is \2 and \3. Is one of them to be transposed?",
    ),
    ("RuntimeError", r"view size is not compatible", "`view` needs numbers that lie side by side; `reshape` does not."),
    (
        "RuntimeError",
        r"shape '([^']+)' is invalid for input of size (\d+)",
        r"\2 numbers do not fit into the shape \1.",
    ),
    (
        "RuntimeError",
        r"Expected all tensors to be on the same device",
        "Make new tensors where the input is: device=x.device.",
    ),
    (
        "RuntimeError",
        r"expected .{0,100} same dtype|expected scalar type|dtypes? to match",
        "Two tensors of different dtypes meet.",
    ),
    (
        "RuntimeError",
        r"could not infer output dtype|must be either a floating",
        "The mean of whole numbers: use .float() first.",
    ),
    ("RuntimeError", r"Boolean value of Tensor", "`if` and `and` need one truth value; this tensor holds several."),
    (
        "RuntimeError",
        r"can't be converted to Scalar|only one element tensors",
        "Only a tensor with one value becomes a number.",
    ),
    (
        "RuntimeError",
        r"leaf Variable that requires grad",
        "This tensor is a parameter; an operation in place is not allowed.",
    ),
    (
        "RuntimeError",
        r"out of memory|can't allocate",
        "This needs more memory than there is. Is an axis larger than you meant?",
    ),
    (
        "RuntimeError",
        r"stack expects each tensor to be equal size",
        "The tensors that you stack have different shapes.",
    ),
    (
        "RuntimeError",
        r"Expected target size \[",
        "`cross_entropy` takes the second axis for the vocabulary. Give it logits [n, vocab] and targets [n].",
    ),
    ("EinopsError", r"", "The pattern and the shape do not fit together; count the axes of the input."),
    ("NameError", r"name '([^']+)' is not defined", r"Python knows no `\1` here: was the cell run that defines it?"),
    ("UnboundLocalError", r"variable '([^']+)'", r"`\1` is used before it has a value in this function."),
    ("TypeError", r"missing \d{1,18} required positional arguments?: (.+)", r"A call leaves out \1."),
    (
        "TypeError",
        r"takes ([\w ]{1,60}) positional arguments? but (\d+)",
        r"A call gives \2 arguments where \1 are taken.",
    ),
    ("TypeError", r"'NoneType' object", "Something is None here. Does a function that you call lack its return?"),
    ("TypeError", r"object is not callable", "Parentheses stand after something that is no function."),
    ("TypeError", r"can't convert cuda|can't convert mps", "numpy works on the CPU alone; stay with torch."),
    (
        "AttributeError",
        r"'NoneType' object has no attribute '([^']+)'",
        r"Something is None where you ask it for `\1`.",
    ),
    ("AttributeError", r"'([^']+)' object has no attribute '([^']+)'", r"A \1 has no `\2`."),
    ("KeyError", r"(.+)", r"There is no key \1."),
    ("ZeroDivisionError", r"", "You divide by zero. Is something empty that you take the mean of?"),
    ("RecursionError", r"", "Your function calls itself without an end."),
    ("MemoryError", r"", "This needs more memory than there is. Is an axis larger than you meant?"),
    ("AssertionError", r"", "An assert of yours does not hold for this input."),
    ("NotImplementedError", r"", "Something that you call is not there for this kind of input."),
    ("SystemExit", r"", "Your code asks Python to end. A function hands back its result with return."),
    ("TooLarge", r"", "What comes back is far larger than any result that is asked. Is an axis larger than you meant?"),
    ("Garbled", r"", "What came from the process that ran this code was not what the grader sends and reads."),
    ("Unjudged", r"", "What came back could not be compared with what is asked; a person has to look at it."),
    ("Killed", r"", "The process that ran this code did not live to answer."),
]


def stopped(error: Stopped, seconds: float) -> Failure:
    """The report on code that raised, or that did not end within ``seconds``."""
    where = f"in your line {error.at}." if error.at is not None else "before your first line."
    if error.at is None and error.name == "TooLarge":
        where = "at what your function returns."
    elif "Lost" in error.names:
        where = "somewhere in your code."
    if error.name == "TimeUp":
        stop = Stop(error.lines, error.at, "No end", f"stopped after {seconds:.3g} seconds")
        told = "Either a loop there never ends, or it does far more work than is needed."
        advice = (
            "print what changes from one round to the next."
            if _loops(error.lines)
            else "count the rounds of your loops."
        )
        return Failure("no exception", where, [told], advice, stop=stop)
    stop = Stop(error.lines, error.at, error.name, error.message)
    return Failure("no exception", where, [read(error)], _next(error), stop=stop)


_STEPS = [  # what to do next, by what an error says
    (r"leaf Variable that requires grad", "make the step under torch.no_grad(), or make a new tensor."),
    (r"dtype|same type|but found", "print the dtypes in the line before."),
    (r"shape|size|dimension|dim |index|broadcast|subscripts", "print the shapes in the line before."),
]


def _next(error: Stopped) -> str:
    if error.at is None:
        return "compare how your code is called with what is asked."
    said = (step for pattern, step in _STEPS if re.search(pattern, error.message))
    return next(said, "print what that line works with, in the line before.")


def _loops(lines: Sequence[tuple[int, str]]) -> bool:
    return any(re.match(r"\s*while\b", line) for _, line in lines)


def read(error: Stopped) -> str:
    """One sentence about an exception, or "" where Python's own says it all."""
    for name, pattern, sentence in _SENTENCES:
        if name in error.names and (match := re.search(pattern, error.message)):
            return match.expand(sentence) if isinstance(sentence, str) else sentence(match)
    return ""


def described(value: Any) -> str:
    """A value in a few words: ``a tensor of shape [2, 4]``."""
    shape = getattr(value, "shape", None)
    return f"{kind(value)} of shape {list(shape)}" if isinstance(shape, tuple) and len(shape) else kind(value)
