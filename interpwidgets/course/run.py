"""Run a notebook from its first cell to its last, and be sure that it got there.

    from interpwidgets.course.run import run

    run(Path("solutions/00_start_here.ipynb"), Path("executed.ipynb"), {"SENTENCE": "Tom saw a cat."})

A check that does not pass stops the run, as an error does: it is run with ``INTERPWIDGETS_STRICT``.

papermill calls a notebook a success when a cell ends the kernel with ``sys.exit(0)``. Every solution therefore ends in
a cell that says so, and this module looks whether it did.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interpwidgets.course import CourseError
from interpwidgets.course.notebooks import SENTINEL

QUIET = ["--log-level=ERROR"]  # else every kernel warns that it talks to this machine without encryption


def run(notebook: Path, out: Path, parameters: dict[str, Any] | None = None, progress: bool = False) -> None:
    """Execute ``notebook`` with papermill and write it, with its outputs, to ``out`` (overwritten).

    ``parameters`` go to the cell tagged "parameters". Raises `CourseError` with the cell's own error if a cell fails,
    if a check does not pass, and if the last cell was never reached.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # else every kernel greets with a debugger's warning
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _strict():
            done = papermill.execute_notebook(
                notebook,
                out,
                parameters,
                progress_bar=progress,
                cwd=out.parent,
                kernel_name="python3",
                extra_arguments=QUIET,
            )
    except PapermillExecutionError as error:
        raise CourseError(_sentence(notebook, error, out)) from None
    except DeadKernelError:
        raise CourseError(
            f"{notebook.stem}: Python itself died in the middle; is there enough memory? What ran is in {out}"
        ) from None
    except OSError as error:
        raise CourseError(f"{out} cannot be written: {error.strerror}. Name another file with -o.") from None
    if not reached_the_end(done):
        raise CourseError(
            f"{notebook.stem} stopped before its last cell without an error; does a cell call exit() or quit()? "
            f"What ran is in {out}"
        )


@contextmanager
def _strict() -> Iterator[None]:
    """Kernels that start now take a check that does not pass for an error."""
    before = os.environ.get("INTERPWIDGETS_STRICT")
    os.environ["INTERPWIDGETS_STRICT"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["INTERPWIDGETS_STRICT"]
        else:
            os.environ["INTERPWIDGETS_STRICT"] = before


def reached_the_end(notebook: Any) -> bool:
    """True if the cell that says "this is the end" has run; also for a notebook that has none but ran every cell."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if not code or SENTINEL not in code[-1].metadata.get("tags", []):
        return all(cell.execution_count for cell in code)
    return any(str(output.get("text", "")).startswith(SENTINEL) for output in code[-1].outputs)


def _sentence(notebook: Path, error: Any, out: Path) -> str:
    """One line about the cell that failed; its traceback is in the executed notebook."""
    line = next((line.strip() for line in error.source.splitlines() if line.strip()), "")
    return (
        f"{notebook.stem}: cell {error.exec_count} ({line[:60]}) stopped with {error.ename}: {error.evalue}\n"
        f"The notebook up to there, with the whole traceback, is in {out}"
    )
