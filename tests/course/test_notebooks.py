"""One source, two notebooks: the same bytes every time, ids that survive edits, no answer in a chapter."""

import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner

from interpwidgets import _urls
from interpwidgets.cli import main
from interpwidgets.course import CourseError, chapters
from interpwidgets.course.exercise import Mistake
from interpwidgets.course.notebooks import build, stale
from interpwidgets.course.skeleton import write as write_skeleton
from interpwidgets.course.verify import definitions, verify

SOURCE = """\
# %% [markdown]
# # 7 · A chapter

# %% id="setup"
import torch

# %% tags=["parameters"]
MODEL = "demo"

# %% [markdown]
# ## See it

# %%
1 + 1

# %%
def double(x):
    \"\"\"Twice x.\"\"\"
    ### BEGIN SOLUTION
    y = 2 * x
    return y
    ### END SOLUTION
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions/07_a_chapter.py").write_text(SOURCE)
    return tmp_path


def write(clone: Path, source: str) -> list[Path]:
    (clone / "solutions/07_a_chapter.py").write_text(source)
    return build(clone / "solutions", clone / "chapters")


def read(clone: Path, shelf: str) -> list[Any]:
    cells: list[Any] = nbformat.read(clone / shelf / "07_a_chapter.ipynb", as_version=4).cells
    return cells


def test_a_source_becomes_a_solution_and_a_chapter(clone: Path) -> None:
    assert [path.relative_to(clone).as_posix() for path in write(clone, SOURCE)] == [
        "solutions/07_a_chapter.ipynb",
        "chapters/07_a_chapter.ipynb",
    ]
    assert "return y" in read(clone, "solutions")[-2].source


def test_a_chapter_asks_where_its_solution_answers(clone: Path) -> None:
    write(clone, SOURCE)
    assert read(clone, "chapters")[-1].source == 'def double(x):\n    """Twice x."""\n    raise NotImplementedError'
    assert "y = 2 * x" not in (clone / "chapters/07_a_chapter.ipynb").read_text()


def test_only_the_solution_ends_in_the_cell_that_proves_the_end(clone: Path) -> None:
    write(clone, SOURCE)
    assert read(clone, "solutions")[-1].metadata.tags == ["sentinel"]
    assert all("sentinel" not in cell.metadata.get("tags", []) for cell in read(clone, "chapters"))


def test_the_first_line_links_to_colab_and_binder_at_the_release(clone: Path) -> None:
    write(clone, SOURCE)
    for shelf in ("chapters", "solutions"):
        first = read(clone, shelf)[0].source
        assert f"/blob/{_urls.TAG}/chapters/07_a_chapter.ipynb" in first
        assert f"/{_urls.TAG}?labpath=chapters%2F07_a_chapter.ipynb" in first


def test_colab_installs_the_wheel_of_this_release_before_anything_else(clone: Path) -> None:
    write(clone, SOURCE)
    code = [cell.source for cell in read(clone, "chapters") if cell.cell_type == "code"]
    assert f"%pip install --quiet {_urls.WHEEL}" in code[0]
    assert code[0].endswith("import torch")
    assert not any("%pip" in source for source in code[1:])


def test_pictures_are_inside_the_notebook(clone: Path) -> None:
    (clone / "solutions/cat.png").write_bytes(b"a cat")
    write(clone, SOURCE.replace("# ## See it", "# ## See it\n# ![A cat.](cat.png)"))
    for shelf in ("chapters", "solutions"):
        assert any("![A cat.](data:image/png;base64,YSBjYXQ=)" in cell.source for cell in read(clone, shelf))


def test_cell_ids_come_from_markers_and_headings(clone: Path) -> None:
    write(clone, SOURCE)
    assert [cell.id for cell in read(clone, "chapters")] == [
        "links",
        "7-a-chapter-1",
        "setup",
        "7-a-chapter-3",
        "see-it-1",
        "see-it-2",
        "see-it-3",
    ]


def test_a_new_sentence_changes_one_cell_and_no_id(clone: Path) -> None:
    write(clone, SOURCE)
    before = read(clone, "chapters")
    write(clone, SOURCE.replace("1 + 1", "1 + 2"))
    after = read(clone, "chapters")
    assert [cell.id for cell in before] == [cell.id for cell in after]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_tags_survive_for_papermill(clone: Path) -> None:
    write(clone, SOURCE)
    tagged = [cell.source for cell in read(clone, "chapters") if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == ['MODEL = "demo"']


def test_building_twice_writes_once_and_nothing_is_stale(clone: Path) -> None:
    assert len(write(clone, SOURCE)) == 2
    assert build(clone / "solutions", clone / "chapters") == []
    assert stale(clone / "solutions", clone / "chapters") == []


def test_an_edited_source_an_edited_notebook_and_an_orphan_are_stale(clone: Path) -> None:
    solutions, chapters = clone / "solutions", clone / "chapters"
    write(clone, SOURCE)
    (solutions / "07_a_chapter.py").write_text(SOURCE.replace("1 + 1", "3"))
    assert len(stale(solutions, chapters)) == 2
    write(clone, SOURCE)
    (chapters / "07_a_chapter.ipynb").write_text((chapters / "07_a_chapter.ipynb").read_text() + "\n")
    assert stale(solutions, chapters) == [chapters / "07_a_chapter.ipynb"]
    write(clone, SOURCE)
    (chapters / "08_gone.ipynb").write_text("{}")
    assert stale(solutions, chapters) == [chapters / "08_gone.ipynb"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("# %%\n1\n", "should begin with a text cell whose first line is the title"),
        ("# %% [markdown]\n# # Title\n", "and hold code"),
        (SOURCE.replace("    ### END SOLUTION\n", ""), "### BEGIN SOLUTION without its partner"),
        (SOURCE.replace("    ### BEGIN SOLUTION\n", ""), "### END SOLUTION without its partner"),
        (SOURCE + "\n# %% [markdown]\n# ![](x.png)\n", "the picture x.png needs a description"),
        (SOURCE + "\n# %% [markdown]\n# ![a cat](x.png)\n", "the picture x.png should be a PNG file beside the source"),
        (SOURCE + "\n# %% [markdown]\n# ![a cat](https://x.org/y.png)\n", "should be a PNG file beside the source"),
        (SOURCE + '\n# %% id="setup"\n2\n', "Two cells have the id 'setup'"),
    ],
)
def test_a_source_that_cannot_be_built_says_why(clone: Path, source: str, sentence: str) -> None:
    with pytest.raises(CourseError) as error:
        write(clone, source)
    assert sentence in str(error.value)


# -- exercises in a chapter ----------------------------------------------------------------------------------------

EXERCISE = """\
# %% [markdown]
# # 97 · Toys

# %% id="setup"
from interpwidgets import answer, check

# %% [markdown]
# Write the mean of every row.

# %% id="97.1"
def row_means(scores, scale=1.0):
    \"\"\"The mean of every row.\"\"\"
    ### BEGIN SOLUTION
    return scale * scores.mean(-1)
    ### END SOLUTION

# %% id="97.1-check"
check("97.1", row_means)

# %% id="97.A"
### BEGIN SOLUTION
answer("97.A", 2)
### END SOLUTION
"""


@pytest.fixture
def exercises(toys: Any, clone: Path) -> Any:
    """Writes a source of chapter 97, with one exercise and one question; returns the cells of the chapter by id."""
    toys.EXERCISES, toys.QUESTIONS = [toys.MEANS], toys.QUESTIONS[:1]
    (clone / "solutions/07_a_chapter.py").unlink()

    def make(source: str = EXERCISE, shelf: str = "chapters") -> dict[str, Any]:
        (clone / "solutions/97_toys.py").write_text(source)
        build(clone / "solutions", clone / "chapters")
        return {cell.id: cell for cell in nbformat.read(clone / shelf / "97_toys.ipynb", as_version=4).cells}

    return make


def test_answers_and_checks_carry_nbgraders_metadata(exercises: Any) -> None:
    for shelf in ("chapters", "solutions"):
        cells = exercises(shelf=shelf)
        mine, test = cells["ex-97-1"].metadata.nbgrader, cells["ex-97-1-check"].metadata.nbgrader
        assert mine == {
            "grade": False, "grade_id": "97-1", "locked": False, "schema_version": 3, "solution": True, "task": False,
        }  # fmt: skip
        assert test == {
            "grade": True, "grade_id": "97-1-check", "locked": True, "points": 2, "schema_version": 3,
            "solution": False, "task": False,
        }  # fmt: skip


def test_the_learner_gets_signature_docstring_and_the_question(exercises: Any) -> None:
    cells = exercises()
    assert cells["ex-97-1"].source.endswith('"""The mean of every row."""\n    raise NotImplementedError')
    assert cells["ex-97-A"].source == 'answer("97.A", ...)'
    assert 'answer("97.A", 2)' in exercises(shelf="solutions")["ex-97-A"].source


def test_points_and_minutes_are_those_of_the_exercise(exercises: Any) -> None:
    texts = [cell.source for cell in exercises().values() if cell.cell_type == "markdown"]
    assert any(text.endswith("*Exercise 97.1 · 2 points · about 5 minutes · 1 to 2 lines*") for text in texts)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('id="97.1"', 'id="97.8"', "the cell '97.8' belongs to no exercise"),
        (
            '# %% id="97.1-check"',
            "# %%",
            'there is no cell for 97.1-check of chapter 97: expected # %% id="97.1-check"',
        ),
        ('# %% id="97.A"', "# %%", "there is no cell for 97.A"),
        ("def row_means", "def means", "it should define row_means"),
        ('    """The mean of every row."""\n', "", "row_means needs a docstring"),
        ("(scores, scale=1.0)", "(pattern)", "row_means(pattern) should take (scores, scale)"),
        ('check("97.1", row_means)', 'check("97.2", row_means)', "should call check"),
        ("# %% [markdown]\n# Write the mean of every row.\n", "", "a text cell should stand before the answer cell"),
    ],
)
def test_a_cell_that_fits_no_exercise_is_refused(exercises: Any, old: str, new: str, sentence: str) -> None:
    assert old in EXERCISE
    with pytest.raises(CourseError) as error:
        exercises(EXERCISE.replace(old, new))
    assert sentence in str(error.value)


def test_a_new_chapter_builds_and_its_checks_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interpwidgets/exercises").mkdir(parents=True)
    paths = write_skeleton(tmp_path, "8", "twice_as_much")
    assert [path.name for path in paths] == [
        "08_twice_as_much.py",
        "ch08.py",
        "twice_as_much_steps.py",
        "twice_as_much.png",
    ]
    for name, path in (("methods.twice_as_much_steps", paths[2]), ("exercises.ch08", paths[1])):
        module = types.ModuleType(f"interpwidgets.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(path.read_text(), module.__dict__)
    assert len(build(tmp_path / "solutions", tmp_path / "chapters")) == 2
    monkeypatch.setattr(chapters, "find", lambda _, shelf: tmp_path / shelf / "08_twice_as_much.ipynb")
    findings = list(verify(["08"]))
    assert len(findings) == 9
    assert all(finding.right for finding in findings), findings
    with pytest.raises(CourseError, match="is there already; nothing was written"):
        write_skeleton(tmp_path, "08", "twice_as_much")
    with pytest.raises(CourseError, match="small letters and underscores"):
        write_skeleton(tmp_path, "09", "No Spaces")


def test_verify_tells_what_is_not_judged_as_it_should_be(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Mistake("none", lambda scores: scores.mean(-1), "Nothing.", "Nothing.")
    twin = Mistake("also sums", lambda scores: scores.sum(-1), "The same.", "The same.")
    broken = replace(toys.MEANS, mistakes=[*toys.MEANS.mistakes, passes, twin], accepted=[lambda scores: scores])
    toys.EXERCISES = [broken]
    found = {finding.what: finding.found for finding in verify(["97"]) if not finding.right}
    assert found["mistake: none"] == "passes"
    assert found["mistake: also sums"] == "taken for 'sums'"
    assert "Not yet." in found["accepted: <lambda>"]


def test_verify_says_with_what_and_in_which_line_an_answer_stopped(toys: Any) -> None:
    def stops(scores: Any) -> Any:
        return scores.no_such_thing

    toys.EXERCISES = [replace(toys.MEANS, accepted=[stops])]
    (found,) = [finding.found for finding in verify(["97"]) if not finding.right]
    assert "AttributeError: 'Tensor' object has no attribute 'no_such_thing'" in found
    assert "return scores.no_such_thing" in found


def test_verify_names_the_cell_that_is_no_python_or_stops(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("def f(:\n    pass"), nbformat.v4.new_code_cell("import no_such_package")]
    for cell, name in zip(cells, ("97-1", "setup"), strict=True):
        cell.id = name
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "97.ipynb")
    found = definitions(tmp_path / "97.ipynb")
    assert "cell setup stopped with ModuleNotFoundError: No module named 'no_such_package'" in str(found)
    assert "cell 97-1 is no Python: invalid syntax, line 1" in str(found)


def test_the_command_verifies_and_ends_with_status_1_if_a_check_fails(toys: Any) -> None:
    toys.EXERCISES = [toys.MEANS]
    found = CliRunner().invoke(main, ["verify", "97"])
    assert found.exit_code == 0, found.output
    assert "0 not judged as they should be" in found.output
    toys.EXERCISES = [replace(toys.MEANS, accepted=[lambda scores: scores])]
    found = CliRunner().invoke(main, ["verify", "97"])
    assert found.exit_code == 1
    assert "1 not judged as they should be" in found.output
    found = CliRunner().invoke(main, ["verify", "96"])
    assert "Error: No chapter 96 has exercises" in found.output


def test_a_folder_without_sources_says_so(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="There are no sources in"):
        build(tmp_path, tmp_path)
