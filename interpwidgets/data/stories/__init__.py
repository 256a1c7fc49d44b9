"""Stories in a small English, told by a grammar that knows of each what it means and how probable it is.

    from interpwidgets.data.stories import sample, samples, tell

    tell(3, seed=1)                                 # three stories of any kind, to read

    asked = sample("ioi", seed=15, held_out=True)    # names and a scene that never come together in training
    asked.text                  # "When Sam and James walked to the park, James offered a camera to Sam."
    asked.prompt                # "When Sam and James walked to the park, James offered a camera to"
    asked.right, asked.wrong    # " Sam", (" James",)
    asked.answer                # 15: where the answer stands in asked.tokens, so a model is asked at 14
    asked.spans                 # (Span("a", 2, 3), Span("b", 4, 5), Span("went", 5, 7), ...)
    asked.logprob               # -17.5 nats: of this story among all that ioi can tell

What is told, and what is asked (`TASKS` has all names):

    ioi, greater-than, successor, calendar, acronym, agreement, pronoun, opposite      a word that can be worked out
    fact, two hops, hearsay                                                            a word that has to be known
    mystery, keeper, coloured objects                                                  a word to find in the text
    review                                                                             a mood to catch
    tale                                                                               nothing: it is told for itself

The grammar is a program that chooses (`draw.Draw`), and no story can come about in two ways. So the probability of a
story is that of the choices that made it, and the mean of its logarithm is the loss that no model can beat
(`entropy`). Models are trained on `windows.Windows`. Every token is a word, with the space in front of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from interpwidgets.data.stories.draw import Draw
from interpwidgets.data.stories.frames import Draft, Words
from interpwidgets.data.stories.tasks import HELD_OUT, TASKS, story


@dataclass(frozen=True)
class Span:
    """What fills a gap of a sentence: ``tokens[start:stop]``."""

    label: str
    start: int
    stop: int


@dataclass(frozen=True)
class Sample:
    """One story, and what is known about it. Positions count from ``<s>``, which stands at 0."""

    task: str
    kind: str  # within the task; the task's function says which there are
    tokens: Words  # "<s>" first; the "<s>" that ends the story is not among them
    spans: tuple[Span, ...]
    answer: int | None  # the position of the right word; None where nothing is asked
    wrong: Words  # what a reader might say there who did not understand
    logprob: float  # natural logarithm of the probability among all stories of the task

    @property
    def text(self) -> str:
        return _read(self.tokens)

    @property
    def prompt(self) -> str:
        """The text before the answer; all of it where nothing is asked."""
        return _read(self.tokens[: self.answer])

    @property
    def right(self) -> str:
        """The token at ``answer``; "" where nothing is asked."""
        return "" if self.answer is None else self.tokens[self.answer]

    def find(self, label: str) -> Span:
        """The first span with this label; raises `KeyError` if there is none."""
        for span in self.spans:
            if span.label == label:
                return span
        raise KeyError(label)


def sample(task: str, seed: int = 0, held_out: bool = False) -> Sample:
    """One story of a task. ``held_out``: one that training never shows, for the tasks in `tasks.HELD_OUT`.

    Raises `ValueError` for a task that there is not, or one of which nothing is held out.
    """
    return next(samples(task, seed, held_out))


def samples(task: str, seed: int = 0, held_out: bool = False) -> Iterator[Sample]:
    """Stories of a task without end; arguments as for `sample`."""
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}; there are {', '.join(TASKS)}.")
    if held_out and task not in HELD_OUT:
        raise ValueError(f"nothing of {task!r} is held out of training; of {', '.join(HELD_OUT)} something is.")
    return _samples(task, seed, held_out)


def _samples(task: str, seed: int, held_out: bool) -> Iterator[Sample]:
    draw = Draw(seed)
    while True:
        draw.logprob = 0.0
        draft = HELD_OUT[task](draw, True) if held_out else TASKS[task](draw)
        yield finished(task, draft, draw.logprob)


def finished(task: str, draft: Draft, logprob: float) -> Sample:
    """A draft as a sample."""
    spans = tuple(Span(*span) for span in draft.spans)
    return Sample(task, draft.kind, tuple(draft.tokens), spans, draft.answer, draft.wrong, logprob)


def tell(n: int = 1, seed: int = 0) -> list[str]:
    """``n`` stories of any kind, as text, as often of each kind as in training."""
    draw = Draw(seed)
    return [_read(tuple(story(draw).tokens)) for _ in range(n)]


def entropy(n: int = 20_000, seed: int = 0) -> float:
    """The mean of -log p per token over ``n`` stories, in nats: what a model that knows the grammar loses.

    A story's tokens are its words and marks and the ``<s>`` that ends it.
    """
    draw, tokens = Draw(seed), 0
    for _ in range(n):
        tokens += len(story(draw).tokens)
    return -draw.logprob / tokens


def _read(tokens: Words) -> str:
    return "".join(tokens[1:]).removeprefix(" ")
