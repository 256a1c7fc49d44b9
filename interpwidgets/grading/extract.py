"""What a submitted notebook answers: a program to run elsewhere, replies to questions, and facts for the teacher.

    found = extract(path.read_bytes(), registry.chapter("05"))
    found.program.cells[0]          # ("setup", "import sys\n...")
    found.questions["05.A"]         # 4.16, or None
    found.states["05.2"]            # "answered", "unstarted", "missing"
    found.flags                     # ("05.2 is answered twice (cells 9 and 31); the last counts.", ...)

The program: first what the course itself gave, taken from the release and not from the submission; then imports,
definitions and constants of the learner's cells, in order. Nothing else that a cell does at its top level is in it.
An answer is found by the name of its function, as a kernel would: the last definition counts, in whatever cell it
stands. So it costs nothing to move, copy, delete or rename cells, or to open the notebook in a program that forgets
their ids: notebooks made in Colab have none (github.com/googlecolab/colabtools, issue 5402). Checks and other calls
never run. A flag states a fact and takes no points.
"""

import ast
import builtins
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from interpwidgets.course.registry import Chapter
from interpwidgets.grading import notebook, source
from interpwidgets.grading.judge import Program
from interpwidgets.grading.manifest import Manifest, Released, manifest
from interpwidgets.grading.notebook import Cell, Unreadable
from interpwidgets.grading.sandbox import is_there
from interpwidgets.grading.source import DEFINITION, IMPORT, Parsed

State = Literal["answered", "unstarted", "missing"]

_GRADER = re.compile(r"interpwidgets\.(?:grading|exercises|course\.(?:attempt|limits|kinds))(?:\.[\w.*]*)?\Z")
FLAGS = 40  # as many are told; the rest is counted
_DEF = re.compile(r"^[ \t]*def[ \t]+(\w{1,80})", re.MULTILINE)  # in code that Python cannot read


@dataclass(frozen=True)
class Extracted:
    """What a notebook answers. ``trouble`` says in a sentence why it could not be read; then all else is empty.

    ``states`` has each exercise; ``cells`` has, for each cell of code by its place counted from 1, what it answers;
    ``broken`` has the exercises whose answer stands in a cell that Python cannot read, and why it cannot.
    """

    program: Program
    questions: Mapping[str, Any]
    flags: tuple[str, ...] = ()
    states: Mapping[str, State] = field(default_factory=dict)
    cells: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    trouble: str = ""
    broken: Mapping[str, str] = field(default_factory=dict)


def extract(data: bytes, chapter: Chapter) -> Extracted:
    """What the notebook in ``data`` answers of ``chapter``. Never raises, whatever the bytes are."""
    questions = {one.id: None for one in chapter.questions}
    states: dict[str, State] = {one.id: "missing" for one in chapter.exercises}
    try:
        found = notebook.read(data)
    except Unreadable as error:
        return Extracted(Program(()), questions, states=states, trouble=str(error))
    try:
        return _extracted(_Work(chapter, manifest(chapter.number), found.cells))
    except Exception as error:  # code that nobody has thought of stops no batch
        told = f"The grader cannot take this notebook apart ({type(error).__name__}): please look at it by hand."
        return Extracted(Program(()), questions, states=states, trouble=told)


def _extracted(work: "_Work") -> Extracted:
    return Extracted(
        work.program(),
        work.questions(),
        work.flags(),
        work.states(),
        {one.cell.at: one.items for one in work.cells},
        broken=work.broken(),
    )


# -- one cell -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """A cell of code with its statements, the cell of the course that it is, and what it answers."""

    cell: Cell
    code: Parsed
    released: Released | None
    untouched: bool
    items: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"cell {self.cell.at}"


def _calls(code: Parsed, name: str) -> Iterator[ast.Call]:
    """The calls of a function of the course among what a cell does when it runs."""
    for node in code.statements:
        calls = [part for part in source.level(node) if isinstance(part, ast.Call)]
        yield from sorted(
            (call for call in calls if source.dotted(call.func).rpartition(".")[2] == name),
            key=lambda call: (call.lineno, call.col_offset),
        )


# -- a whole notebook ---------------------------------------------------------------------------------------------


class _Work:
    """The cells of one submission beside those of the release."""

    def __init__(self, chapter: Chapter, released: Manifest, cells: Sequence[Cell]) -> None:
        self.chapter = chapter
        self.released = released
        self.exercises = {one.name: one.id for one in chapter.exercises}
        self.cells = [self._read(cell) for cell in cells if cell.code]
        self.stubs = _stubs(released.number)
        self.defined = self._defined()
        self.kept = self._kept()
        self.runs = {id(node) for nodes in self.kept.values() for node in nodes}
        self.named = any(released.known_as(*one.cell.names) for one in self.cells)

    def _read(self, cell: Cell) -> _Read:
        code = Parsed("", trouble=cell.trouble) if cell.trouble else source.parsed(cell.source)
        same = self.released.same_as(cell.source)
        known = self.released.known_as(*cell.names) or same
        names = [name for node in code.statements if source.is_plain(node) for name in source.bound(node)]
        items = tuple(dict.fromkeys(self.exercises[name] for name in names if name in self.exercises))
        return _Read(cell, code, known, same is not None, items)

    def _defined(self) -> dict[str, list[tuple[_Read, ast.stmt, bool]]]:
        """Where each answer is given a value: the cell, the statement, and whether somebody has begun it."""
        found = defaultdict(list)
        for one in self.cells:
            for node in one.code.statements:
                for name in source.bound(node) if source.is_plain(node) else ():
                    if name in self.exercises:
                        found[name].append((one, node, not _unstarted(node, self.stubs.get(name))))
        return found

    def _kept(self) -> dict[int, list[ast.stmt]]:
        """What may run of each cell; no untouched stub of what is answered, no constant made of what is not there."""
        known = set(dir(builtins)) | {name for node in _given_nodes(self.released) for name in source.bound(node)}
        kept: dict[int, list[ast.stmt]] = {}
        for one in self.cells:
            kept[one.cell.at] = []
            for node in one.code.statements:
                if source.is_plain(node) and _can_run(node, known):
                    known.update(source.bound(node))
                    kept[one.cell.at].append(node)
        runs = {id(node) for nodes in kept.values() for node in nodes}
        stubs = {
            id(node)
            for places in self.defined.values()
            if any(begun and id(other) in runs for _, other, begun in places)
            for _, node, begun in places
            if not begun
        }
        return {at: [node for node in nodes if id(node) not in stubs] for at, nodes in kept.items()}

    # -- what comes out ---------------------------------------------------------------------------------------------

    def program(self) -> Program:
        """The course's own cells, then the learner's."""
        theirs = []
        for one in self.cells:
            given = one.untouched and one.released is not None and one.released.kind == "given"
            if self.kept[one.cell.at] and not given:
                theirs.append((_title(one), source.reduced(one.code, self.kept[one.cell.at])))
        return Program((*_given(self.released), *_told_apart(theirs)))

    def states(self) -> dict[str, State]:
        """Whether each exercise is answered, not begun, or nowhere to be found."""
        found: dict[str, State] = {}
        for name, item in self.exercises.items():
            begun = [begun for _, node, begun in self.defined.get(name, ()) if id(node) in self.runs or not begun]
            found[item] = "answered" if any(begun) else "unstarted" if begun else "missing"
        return found

    def broken(self) -> dict[str, str]:
        """The exercises whose answer stands in a cell that Python cannot read, with what it says."""
        states = self.states()
        return {
            item: printable(one.code.trouble)
            for one in self.cells
            for item in self._meant(one)
            if states[item] != "answered"
        }

    def _meant(self, one: _Read) -> tuple[str, ...]:
        """What a cell that Python cannot read would answer."""
        names = _DEF.findall(one.cell.source) if one.code.trouble else []
        return tuple(dict.fromkeys(self.exercises[name] for name in names if name in self.exercises))

    def questions(self) -> dict[str, Any]:
        """The last reply to each question, or None."""
        found: dict[str, Any] = {one.id: None for one in self.chapter.questions}
        for item, value, _ in self._replies():
            found[item] = value
        return found

    def _replies(self) -> Iterator[tuple[str, Any, _Read]]:
        wanted = {one.id for one in self.chapter.questions}
        for one in self.cells:
            for call in _calls(one.code, "answer"):
                item, given = _parts(call)
                if item in wanted and given is not None and not _is_dots(given):
                    yield item, _value(given), one

    def flags(self) -> tuple[str, ...]:
        """Facts for the teacher, in the order of the notebook where they have one."""
        told = list(
            dict.fromkeys(
                [
                    *self._looks(),
                    *self._unread(),
                    *self._answers(),
                    *self._order(),
                    *self._course_cells(),
                    *self._nested(),
                    *self._hidden_imports(),
                    *self._notebook_names(),
                    *self._names_of_nothing(),
                    *self._unclear_replies(),
                ]
            )
        )
        more = len(told) - FLAGS
        return tuple(map(printable, told[:FLAGS] + ([f"And {more} more facts of this kind."] if more > 0 else [])))

    # -- facts ------------------------------------------------------------------------------------------------------

    def _unread(self) -> Iterator[str]:
        for one in self.cells:
            if one.code.trouble:
                item = ", ".join(self._meant(one))
                told = f"The cell of {item}" if item else f"The cell that begins with {_first_words(one)}"
                yield f"{told} was left out: {one.code.trouble}."

    def _answers(self) -> Iterator[str]:
        """Answers that are missing, or stand elsewhere than in their own cells, or more than once."""
        ids = {one.released.id for one in self.cells if one.released and one.released.kind == "answer"}
        own = {cell.item for cell in self.released.cells if cell.id in ids}
        absent, moved, followed = [], [], []
        broken = self.broken()
        for name, item in self.exercises.items():
            places = self.defined.get(name, [])
            begun = [one for one, _, begun in places if begun]
            if not places and item not in broken:
                absent.append(f"{item} ({name})")
            elif begun and item not in own:
                moved.append(f"{item} ({begun[-1].name})")
            if begun and not places[-1][2]:
                followed.append(f"{item} ({begun[-1].name})")
            if len(begun) > 1:
                cells = _listed([one.cell.at for one in begun])
                yield f"{item} is answered {_times(len(begun))} ({cells}); the last counts."
        if not ids and (absent or not any(one.released for one in self.cells)):
            yield "No answer stands in a cell that the course gave; answers were found by the names of their functions."
        elif ids and moved:
            yield f"Answered in other cells, their own being gone: {_few(moved)}."
        if absent:
            yield f"No cell defines the answer: {_few(absent)}."
        if followed:
            yield f"An untouched cell stands after the answer, and the answer counts: {_few(followed)}."

    def _order(self) -> Iterator[str]:
        order = [cell.id for cell in self.released.cells if cell.kind == "answer"]
        here = [one.released.id for one in self.cells if one.released and one.released.kind == "answer"]
        once = list(dict.fromkeys(here))
        if once != sorted(once, key=order.index):
            yield "The answer cells stand in another order than in the course."
        twice = [name for name, times in Counter(here).items() if times > 1]
        for name in twice:
            item = next(cell.item for cell in self.released.cells if cell.id == name)
            yield f"The cell of {item} is there {_times(here.count(name))}."

    def _course_cells(self) -> Iterator[str]:
        """Cells of the course that were changed or taken out; none of them is needed."""
        here = {one.released.id: one for one in self.cells if one.released}
        number, replied = self.released.number, {item for item, _, _ in self._replies()}
        for kind, many in (
            ("check", "Check cells"),
            ("question", "Cells of questions"),
            ("given", "Cells of the course"),
        ):
            cells = [cell for cell in self.released.cells if cell.kind == kind and cell.id not in _of_no_matter(number)]
            gone = [cell.item or cell.id for cell in cells if cell.id not in here]
            if kind == "question" and here and not self.named:  # the cell of a reply cannot be told by its source
                gone = [item for item in gone if item not in replied]
            if gone and len(gone) == len(cells):
                yield f"All {many[0].lower()}{many[1:]} are gone."
            elif gone:
                yield f"{many} are gone{'' if self.named else ' or were changed'}: {_few(gone)}."
            if kind != "question" and (
                changed := [cell.item or cell.id for cell in cells if cell.id in here and not here[cell.id].untouched]
            ):
                yield f"{many} were changed: {_few(changed)}."

    def _nested(self) -> Iterator[str]:
        for one in self.cells:
            for node in one.code.statements:
                if not one.untouched and not source.is_plain(node):
                    for inner in source.nested(node):
                        yield (
                            f"{inner.name} is defined under `{source.word(node)}` ({one.name}, line {inner.lineno}): "
                            "it runs only in a notebook."
                        )

    def _looks(self) -> Iterator[str]:
        """Cells that import, anywhere in them, the code that grades or that runs beside theirs."""
        for one in self.cells:
            for node in one.code.statements if not one.untouched else ():
                for name in sorted({name for part in ast.walk(node) for name in _modules(part) if _GRADER.match(name)}):
                    yield f"{one.name.capitalize()} looks at the grader's own code ({name[:80]})."

    def _hidden_imports(self) -> Iterator[str]:
        for one in self.cells:
            for node in one.code.statements if not one.untouched else ():
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    if name.startswith("interpwidgets.") and not is_there(name):
                        yield f"{one.name.capitalize()} imports {name}, which is not there when answers are graded."

    def _notebook_names(self) -> Iterator[str]:
        """Answers that read a name which only a run of the notebook makes."""
        there = {name for nodes in self.kept.values() for node in nodes for name in source.bound(node)}
        there |= set(dir(builtins)) | {name for node in _given_nodes(self.released) for name in source.bound(node)}
        made: dict[str, _Read] = {}
        bodies: dict[str, ast.stmt] = {}
        for one in self.cells:
            for node in one.code.statements:
                kept = id(node) in self.runs
                for name in source.bound(node):
                    bodies.update({name: node} if kept and isinstance(node, DEFINITION) else {})
                    made.update({} if kept or name in there else {name: one})
        for name, item in self.exercises.items():
            for used in sorted(_reached(name, bodies) & made.keys()):
                yield (
                    f"{item} uses {used}, which {made[used].name} makes when it runs: "
                    "only imports, definitions and constants are graded."
                )

    def _names_of_nothing(self) -> Iterator[str]:
        for name, item in self.exercises.items():
            for one, node, begun in self.defined.get(name, ()):
                if begun and id(node) not in self.runs:
                    where = one.name.capitalize()
                    yield f"{where} calls something {name} ({item}) that no import or definition before it makes."

    def _unclear_replies(self) -> Iterator[str]:
        last = {item: (value, one) for item, value, one in self._replies()}
        for item, (value, one) in last.items():
            if value is None:
                yield f"The reply to {item} ({one.name}) is no number that can be read without running it."


# -- the release --------------------------------------------------------------------------------------------------


@cache
def _given_cells(number: str) -> tuple[tuple[str, Parsed], ...]:
    cells = manifest(number).cells
    return tuple((cell.id, source.parsed(cell.source)) for cell in cells if cell.kind == "given")


def _given_nodes(released: Manifest) -> Iterator[ast.stmt]:
    for _, code in _given_cells(released.number):
        yield from filter(source.is_plain, code.statements)


@cache
def _of_no_matter(number: str) -> frozenset[str]:
    """The given cells that import and define nothing: everybody may play with them."""
    return frozenset(
        name
        for name, code in _given_cells(number)
        if not any(isinstance(node, (*DEFINITION, *IMPORT)) for node in code.statements)
    )


@cache
def _given_texts(number: str) -> tuple[tuple[str, str], ...]:
    known = set(dir(builtins))
    found = []
    for name, code in _given_cells(number):
        kept = []
        for node in filter(source.is_plain, code.statements):
            if _can_run(node, known):
                known.update(source.bound(node))
                kept.append(node)
        if kept:
            found.append((name, source.reduced(code, kept)))
    return tuple(found)


def _given(released: Manifest) -> tuple[tuple[str, str], ...]:
    return _given_texts(released.number)


@cache
def _stubs(number: str) -> dict[str, str]:
    """The answers as they were handed out, by name, in a form that does not see documentation."""
    found = {}
    for cell in manifest(number).cells:
        for node in source.parsed(cell.source).statements if cell.kind == "answer" else ():
            found.update({name: _form(node) for name in source.bound(node)})
    return found


def _form(node: ast.stmt) -> str:
    if isinstance(node, DEFINITION) and ast.get_docstring(node, clean=False) is not None:
        node = type(node)(**{**dict(ast.iter_fields(node)), "body": node.body[1:]})
    return ast.dump(node)


def _unstarted(node: ast.stmt, stub: str | None) -> bool:
    """Nothing but ``raise NotImplementedError``, or exactly what was handed out."""
    try:
        if stub is not None and _form(node) == stub:
            return True
    except (RecursionError, ValueError):  # too deep, or a number of more digits than Python writes out
        return False
    if not isinstance(node, source.FUNCTION):
        return False
    steps = [step for step in node.body if not isinstance(step, (ast.Pass, ast.Expr))]
    return len(steps) == 1 and isinstance(steps[0], ast.Raise) and _raises_not_implemented(steps[0])


def _raises_not_implemented(node: ast.Raise) -> bool:
    kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(kind, ast.Name) and kind.id == "NotImplementedError"


def _can_run(node: ast.stmt, known: set[str]) -> bool:
    """A constant needs the names that it is made of; definitions and imports say themselves what they miss."""
    return not isinstance(node, (ast.Assign, ast.AnnAssign)) or known.issuperset(source.needed_now(node))


def _reached(name: str, bodies: Mapping[str, ast.stmt]) -> set[str]:
    """The names from outside that a definition reads, and those that the definitions that it uses read."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        one = bodies.get(todo.pop())
        if one is None:
            continue
        parts = list(ast.walk(one))
        own = {part.arg for part in parts if isinstance(part, ast.arg)}
        own |= {part.id for part in parts if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}
        read = {part.id for part in parts if isinstance(part, ast.Name)} - own
        todo += read - seen
        seen |= read
    return seen


# -- replies to questions -----------------------------------------------------------------------------------------


def _parts(call: ast.Call) -> tuple[str, ast.expr | None]:
    """The id and the value of ``answer("05.A", 2)``, with or without the names of the parameters."""
    given = dict(zip(("name", "given"), call.args, strict=False))
    given.update({one.arg: one.value for one in call.keywords if one.arg})
    name = given.get("name")
    said = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""
    chapter, _, letter = said.replace(" ", "").partition(".")
    return f"{chapter.zfill(2)}.{letter.upper()}", given.get("given")


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _value(node: ast.expr) -> Any:
    """A number or a text, or arithmetic and logarithms of numbers; None for all that would have to run."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        try:
            return _number(node)
        except (ValueError, ArithmeticError, RecursionError):
            return None
    if isinstance(value, str):
        return printable(value)
    return value if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 53) else None


_STEPS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_FUNCTIONS = {"log": math.log, "log2": math.log2, "sqrt": math.sqrt, "exp": math.exp}


def _number(node: ast.expr) -> float:
    """The value of an expression of numbers. Raises ValueError for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _STEPS:
        return float(_STEPS[type(node.op)](_number(node.left), _number(node.right)))
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        home, _, name = source.dotted(node.func).rpartition(".")
        if home in ("math", "np", "numpy") and name in _FUNCTIONS:
            return _FUNCTIONS[name](_number(node.args[0]))
    raise ValueError("no number")


def _modules(node: ast.AST) -> Iterator[str]:
    """The modules that a part of code names: those of an import, and a text that could be one for ``__import__``."""
    if isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


# -- words --------------------------------------------------------------------------------------------------------


def _title(one: _Read) -> str:
    """How a report calls a cell: by its exercise if it answers one, else by its place."""
    return one.items[0] if len(one.items) == 1 else one.name


def _first_words(one: _Read) -> str:
    line = next((line.strip() for line in one.cell.source[:4000].splitlines() if line.strip()), "")
    return f"“{line[:39]}…”" if len(line) > 40 else f"“{line}”" if line else one.name


def _told_apart(cells: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    seen = Counter[str]()
    for name, text in cells:
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name} ({seen[name]})"), text


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _listed(numbers: Sequence[int]) -> str:
    shown = [str(number) for number in numbers[:5]] + (["more"] if len(numbers) > 5 else [])
    return f"cells {', '.join(shown[:-1])} and {shown[-1]}" if len(set(shown)) > 1 else f"cell {shown[0]}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def printable(text: str, most: int = 300) -> str:
    """One line that any terminal, file and page can show: no control characters, no half characters, not too long."""
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
