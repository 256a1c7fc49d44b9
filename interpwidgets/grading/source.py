"""The code of one cell, and the part of it that a grader runs: imports, definitions, constants; nothing else.

    cell = parsed("%matplotlib inline\nimport torch\nprint(torch.ones(2)); EPS = 1e-5")
    reduced(cell, cell.statements)      # "\nimport torch\nEPS = 1e-5": what is kept stays in its line

    is_plain(statement)                 # may it run? `EPS = 1e-5` may, `model = load("gpt2")` may not

A constant is a literal, arithmetic of constants, another name for something, a lambda, or one of a few calls that only
make a value (`float("inf")`). Python itself is the parser; nothing is executed or compiled here.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITION = (*FUNCTION, ast.ClassDef)
IMPORT = (ast.Import, ast.ImportFrom)
_BLOCK = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)

_PYTHON_INSIDE = {"time", "capture", "prun"}  # cell magics below which ordinary Python runs, names and all
_MAGIC = re.compile(
    r"\s*(?:[%!?]"  # %time x, !ls, ?name
    r"|[A-Za-z_][\w.,\[\] ]*=\s*[%!](?!=)"  # names = !ls
    r"|[\w.%*\[\]]+\?{1,2}\s*(?:\#.*)?$)"  # name?
)
_CALLS = {"float", "range", "partial", "functools.partial", "math.log", "math.sqrt", "math.exp", "torch.device"}


# -- what is no Python --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """The text of a cell without magics, line for line, and the name of the magic that takes the whole cell, if so."""

    text: str
    magic: str = ""


def without_magics(source: str) -> Text:
    """The cell with ``pass`` in place of each line that IPython, not Python, reads."""
    lines = source.split("\n")
    first = next((at for at, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        magic = lines[first][2:].split(maxsplit=1)
        if not magic or magic[0] not in _PYTHON_INSIDE:
            return Text("", magic[0] if magic else "%%")
        lines[first] = ""
        first = next((at for at, line in enumerate(lines) if line.strip()), first)
    indent = re.match(r"[ \t]*", lines[first])
    if indent and indent[0]:  # a whole cell may be indented
        lines = [line.removeprefix(indent[0]) for line in lines]
    return Text("\n".join(_lines(lines)))


def _lines(lines: list[str]) -> Iterator[str]:
    inside = _Inside()
    magic = False
    for line in lines:
        if magic:
            magic = line.endswith("\\")
            yield ""
        elif inside.free and _MAGIC.match(line):
            magic = line.endswith("\\")
            yield f"{line[: len(line) - len(line.lstrip())]}pass"
        else:
            inside.follow(line)
            yield line


class _Inside:
    """Whether a line of Python begins a statement, or goes on within a string, a bracket or after a backslash."""

    _NEXT = re.compile(r"\#|'''|\"\"\"|['\"]|[(\[{]|[)\]}]")

    def __init__(self) -> None:
        self._quote = ""
        self._depth = 0
        self._goes_on = False

    @property
    def free(self) -> bool:
        return not self._quote and self._depth == 0 and not self._goes_on

    def follow(self, line: str) -> None:
        at = 0
        comment = False
        while at < len(line):
            if self._quote:
                end = re.compile(rf"\\.|{self._quote}").search(line, at)
                if not end:
                    break
                at = end.end()
                if end[0] == self._quote:
                    self._quote = ""
                continue
            found = self._NEXT.search(line, at)
            if not found or (comment := found[0] == "#"):
                break
            at = found.end()
            if found[0] in "([{":
                self._depth += 1
            elif found[0] in ")]}":
                self._depth = max(0, self._depth - 1)
            else:
                self._quote = found[0]
        self._goes_on = line.endswith("\\") and not comment
        if len(self._quote) == 1 and not self._goes_on:
            self._quote = ""  # such a string ends with its line, closed or not


# -- what is Python -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parsed:
    """The statements of a cell, or why there are none: "line 3: invalid syntax"."""

    text: str
    statements: tuple[ast.stmt, ...] = ()
    trouble: str = ""


def parsed(source: str) -> Parsed:
    """The statements at the top level of a cell. Never raises; broken code has ``trouble`` and no statements."""
    found = without_magics(source)
    if found.magic:
        return Parsed("", trouble=f"%%{found.magic[:20]} is no Python")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of "\d" is not for the person who grades
            tree = ast.parse(found.text)
    except SyntaxError as error:
        return Parsed(found.text, trouble=f"line {error.lineno or 1}: {error.msg}")
    except UnicodeError:
        return Parsed(found.text, trouble="it holds half characters (lone surrogates)")
    except (ValueError, RecursionError, MemoryError):
        return Parsed(found.text, trouble="it is nested too deeply or holds null characters")
    return Parsed(found.text, tuple(tree.body))


def reduced(cell: Parsed, kept: Iterable[ast.stmt]) -> str:
    """The text of these statements, each in the line where it was, and nothing else."""
    lines = [line.encode() for line in cell.text.split("\n")]
    out: list[bytes] = []
    at = 1  # the line that the end of `out` stands in
    begun = False
    for node in kept:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        out.append(b"; " if first == at and begun else b"\n" * (first - at))
        end = node.end_lineno or first
        block = lines[first - 1 : end]
        block[-1] = block[-1][: node.end_col_offset]
        block[0] = block[0][0 if isinstance(node, DEFINITION) else node.col_offset :]
        out += [b"\n".join(block)]
        at, begun = end, True
    return b"".join(out).decode()


def bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement gives a value to, at the level at which it stands."""
    if isinstance(node, DEFINITION):
        yield node.name
    elif isinstance(node, IMPORT):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    else:
        for part in level(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id
            elif isinstance(part, (*DEFINITION, *IMPORT)) and part is not node:
                yield from bound(part)


def level(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is below it, but not what is inside functions, classes and comprehensions."""
    todo = [node]
    while todo:
        one = todo.pop()
        yield one
        if not isinstance(one, (*DEFINITION, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            todo += ast.iter_child_nodes(one)


def nested(node: ast.stmt) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The functions and classes that are defined inside a block: under ``if``, ``for``, ``with``, ``try``."""
    if isinstance(node, _BLOCK):
        yield from (part for part in level(node) if isinstance(part, DEFINITION))


def word(node: ast.stmt) -> str:
    """How a block begins: "if", "for", "with", "try"."""
    return type(node).__name__.removeprefix("Async").removesuffix("Star").lower()


# -- what may run -------------------------------------------------------------------------------------------------


def is_plain(node: ast.stmt) -> bool:
    """True for an import, a definition, a constant, and for imports with a way out: ``try: import ... except ...``."""
    if isinstance(node, (*DEFINITION, *IMPORT)) or type(node).__name__ == "TypeAlias":
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return node.value is not None and all(map(_is_target, targets)) and _is_constant(node.value)
    return isinstance(node, ast.Try) and _is_attempt(node)


def _is_attempt(node: ast.Try) -> bool:
    """Imports that may fail, and what to do then: other imports, constants, or nothing."""
    ways = [*node.orelse, *node.finalbody, *(step for handler in node.handlers for step in handler.body)]
    return all(isinstance(step, IMPORT) for step in node.body) and all(
        isinstance(step, ast.Pass) or (is_plain(step) and not isinstance(step, (ast.Try, *DEFINITION))) for step in ways
    )


def _is_target(node: ast.expr) -> bool:
    if isinstance(node, (ast.Tuple, ast.List)):
        return all(map(_is_target, node.elts))
    return isinstance(node, ast.Name)


def _is_constant(value: ast.expr) -> bool:
    """No part of it does anything but make a value."""
    todo: list[ast.AST] = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Call):
            if dotted(node.func) not in _CALLS:
                return False
            todo += [*node.args, *(one.value for one in node.keywords)]
        elif isinstance(node, ast.Lambda):
            todo += [*node.args.defaults, *(one for one in node.args.kw_defaults if one)]
        elif isinstance(node, _PARTS):
            todo += ast.iter_child_nodes(node)
        else:
            return False
    return True


_PARTS = (
    ast.Constant,
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Slice,
    ast.Tuple,
    ast.List,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.BinOp,
    ast.operator,
    ast.unaryop,
    ast.expr_context,
)


def dotted(node: ast.expr) -> str:
    """``"functools.partial"`` for that expression, "" for one that is no name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def needed_now(node: ast.stmt) -> Iterator[str]:
    """The names that a statement reads when its line runs; what a lambda reads, it reads later."""
    todo: list[ast.AST] = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            yield one.id
        if isinstance(one, ast.Lambda):
            todo += [*one.args.defaults, *(way for way in one.args.kw_defaults if way)]
        else:
            todo += ast.iter_child_nodes(one)
