"""A notebook counts as run when its last cell ran, and only then."""

import os
from pathlib import Path

import nbformat
import pytest

from interpwidgets.course import CourseError
from interpwidgets.course.run import run

SENTINEL = 'print("sentinel: reached the end of 99_test")'


def notebook(tmp_path: Path, *texts: str, sentinel: bool = True) -> Path:
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    cells[0].metadata.tags = ["parameters"]
    if sentinel:
        cells.append(nbformat.v4.new_code_cell(SENTINEL, metadata={"tags": ["sentinel"]}))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "99_test.ipynb")
    return tmp_path / "99_test.ipynb"


def test_a_notebook_runs_to_its_end_with_the_parameters_given(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.ipynb"
    run(notebook(tmp_path, "x = 1", "print('x is', x)"), out, {"x": 5})
    assert "x is 5" in out.read_text()


@pytest.mark.parametrize("sentinel", [True, False])
def test_a_cell_that_leaves_early_is_no_success(tmp_path: Path, sentinel: bool) -> None:
    with pytest.raises(CourseError, match="stopped before its last cell"):
        run(notebook(tmp_path, "x = 1", "import sys; sys.exit(0)", "x", sentinel=sentinel), tmp_path / "out.ipynb")


def test_a_kernel_that_dies_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="Python itself died in the middle"):
        run(notebook(tmp_path, "import os; os._exit(0)"), tmp_path / "out.ipynb")


def test_a_failing_cell_is_named_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(CourseError) as error:
        run(notebook(tmp_path, "x = 1", "1 / 0"), tmp_path / "out.ipynb")
    assert "99_test: cell 2 (1 / 0) stopped with ZeroDivisionError: division by zero" in str(error.value)
    assert "ZeroDivisionError" in (tmp_path / "out.ipynb").read_text()


def test_a_check_that_does_not_pass_fails_the_run_and_is_named(tmp_path: Path) -> None:
    texts = ("from interpwidgets import check", 'check("05.1", lambda *given: given[0])')
    with pytest.raises(CourseError, match="99_test: cell 2") as error:
        run(notebook(tmp_path, *texts), tmp_path / "out.ipynb")
    assert "05.1" in str(error.value)
    assert "INTERPWIDGETS_STRICT" not in os.environ


def test_an_output_that_cannot_be_written_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match=r"cannot be written: .*Name another file with -o"):
        run(notebook(tmp_path, "x = 1"), tmp_path / "file" / "out.ipynb")
