"""What the guide for teachers says can be done: every command is one of ours, every file is where it says."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import click
import pytest
from click.testing import CliRunner

from interpwidgets import _urls
from interpwidgets.cli import main
from interpwidgets.course import progress, registry, snapshots
from interpwidgets.course.chapters import find

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs/teaching.md"

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="only in a clone")

TEXT = GUIDE.read_text(encoding="utf-8") if GUIDE.exists() else ""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def lines() -> list[str]:
    """Every line that a reader may type, and every command of ours within the text."""
    typed = [line for kind in ("bash", "python") for block in blocks(kind) for line in block.splitlines()]
    return typed + re.findall(r"`(interpwidgets [^`]+)`", TEXT)


def ours(line: str) -> str:
    """A command of ours as a terminal, a notebook's cell or a container is told."""
    return re.sub(r"^(!|docker run .* interpwidgets-grading (?=grade))", "interpwidgets " * ("docker" in line), line)


COMMANDS = sorted({ours(line) for line in lines() if ours(line).startswith("interpwidgets ")})


# -- commands ---------------------------------------------------------------------------------------------------------


def test_the_guide_has_commands_to_try() -> None:
    assert {line.split()[1] for line in COMMANDS} >= {"grade", "learn", "doctor", "progress", "verify", "build"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_each_of_its_options_exists(line: str) -> None:
    words, command = shlex.split(line)[1:], main
    context = click.Context(main)
    while isinstance(command, click.Group):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
        context = click.Context(command, parent=context)
    assert isinstance(command, click.Command)
    values, left, _ = command.make_parser(context).parse_args(args=words)  # raises for an option that is none of ours
    assert left == []
    for option in command.params:
        if option.required:
            assert values.get(option.name or "") is not None, f"{line} lacks {option.name}"


@pytest.mark.parametrize("line", [line for line in lines() if "python -c" in line])
def test_what_python_is_asked_in_the_guide_it_answers(line: str) -> None:
    found = re.search(r'python -c "(.*?)"', line)
    assert found
    done = subprocess.run([sys.executable, "-c", found[1]], capture_output=True, text=True, check=True)
    said = done.stdout.strip()
    assert Path(said).exists() if "find(" in line else "sandbox" in said or "Grading" in said or "container" in said


@pytest.mark.skipif(shutil.which("bash") is None, reason="the blocks are written for bash")
@pytest.mark.parametrize("block", [block for block in blocks("bash") if "cp " in block], ids=["hand out", "nbgrader"])
def test_a_block_that_copies_a_chapter_runs_as_it_stands(block: str, tmp_path: Path) -> None:
    if "nbgrader" in block and shutil.which("nbgrader") is None:
        pytest.skip("nbgrader is not on the PATH")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
    there = "release/05" if "nbgrader" in block else "."
    assert (tmp_path / there / find("05", "chapters").name).exists()


def test_the_container_is_started_as_its_own_page_says() -> None:
    (line,) = (line for line in lines() if line.startswith("docker run"))
    page = (ROOT / "containers/grading/README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    assert " ".join(line.split()) in " ".join(page.split())


def test_the_release_is_this_one() -> None:
    wheels = re.findall(r"https://\S+?\.whl", TEXT)
    assert wheels
    assert set(wheels) == {_urls.WHEEL}


# -- links ------------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The addresses within a page, as GitHub makes them of its headings."""
    headings = re.findall(r"^#+ (.+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!https?:)[^)]+)\)", TEXT))))
def test_every_link_into_the_repository_leads_somewhere(target: str) -> None:
    file, _, anchor = target.partition("#")
    path = (GUIDE.parent / file).resolve() if file else GUIDE
    assert path.exists()
    assert not anchor or anchor in anchors(path)


def test_teachers_find_the_guide_from_the_readme() -> None:
    assert "](docs/teaching.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_link_of_nbgitpuller_says_what_its_documentation_asks_for() -> None:
    (link,) = re.findall(r"https://\S+git-pull\?\S+", TEXT)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    repository = asked["repo"].rsplit("/", 1)[-1]
    lab, tree, folder, file = unquote(asked["urlpath"]).removesuffix("?autodecode").split("/")
    assert (lab, tree, folder, asked["branch"]) == ("lab", "tree", repository, "main")
    assert file == find("05", "chapters").name


# -- what the guide promises ------------------------------------------------------------------------------------------


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine as Colab has it: google.colab.drive mounts a Drive, which stays when the machine is gone."""
    drive = tmp_path / "drive"
    mounted = types.SimpleNamespace(mount=lambda where: (drive / "MyDrive").mkdir(parents=True, exist_ok=True))
    module = types.ModuleType("google.colab")
    module.drive = mounted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(snapshots, "DRIVE", drive)
    monkeypatch.chdir(tmp_path)
    return drive


def run_cell(source: str) -> None:
    for line in source.splitlines():
        if line.startswith("!"):
            CliRunner().invoke(main, shlex.split(line[1:])[1:])
        else:
            exec(line, {})


def test_progress_outlives_colab_sessions_by_the_lines_of_the_guide(
    colab: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin, end = (block for block in blocks("python") if "progress" in block)
    for session in range(3):
        monkeypatch.setenv("INTERPWIDGETS_HOME", str(tmp_path / f"machine{session}"))
        run_cell(begin)
        progress.note(f"97.{session + 1}", "check", "passed")
        run_cell(end)
    assert [progress.standing(f"97.{session + 1}").passed for session in range(3)] == [True] * 3
    assert [path.name for path in (colab / "MyDrive").iterdir()] == ["interpwidgets-progress.jsonl"]


def outputs() -> list[str]:
    """The names in the table of what `grade` writes."""
    table = TEXT.split("| in `grades/` |")[1].split("\n\n")[0]
    return [name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.slow
def test_ten_minutes_from_submissions_to_gradebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsolved chapter 05 by Canvas' names, the class in Canvas' export: the command of the guide as it stands."""
    from interpwidgets.grading.sandbox import refusal

    if why := refusal():
        pytest.skip(why)
    monkeypatch.chdir(tmp_path)
    Path("submissions").mkdir()
    notebook = json.loads(find("05", "chapters").read_text(encoding="utf-8"))
    Path("submissions/poesam_11_99_05_induction_heads.ipynb").write_text(json.dumps(notebook))
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"{registry.chapter('05').title} (7)"]
    with Path("canvas.csv").open("w", newline="") as file:
        rows = [header, ["    Points Possible", "", "", "", "", "23"], ["Poe, Sam", "11", "s11", "sam", "A", ""]]
        csv.writer(file).writerows(rows)
    (line,) = (line for line in blocks("bash")[2].splitlines())
    done = CliRunner().invoke(main, shlex.split(line.replace("submissions.zip", "submissions"))[1:])
    assert done.exit_code == 0, done.output
    for name in outputs():
        assert name.startswith("moodle") or Path("grades", name).exists(), f"there is no {name}"
    with Path("grades/canvas.csv").open(newline="") as file:
        assert [row[5] for row in csv.reader(file) if row[1] == "11"] in (["0"], ["0.0"])
    assert Path("grades/.batch").stat().st_mode & 0o077 == 0
