"""What the files at the top promise, and whether they still agree with each other."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from interpwidgets import __version__, _urls
from interpwidgets.course.notebooks import stale

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
COMMANDS = (
    'pip install -c constraints.txt -e ".[lab]" && interpwidgets learn',
    'pip install -c constraints.txt -e ".[test]" && pytest',
)

pytestmark = pytest.mark.skipif(not (ROOT / "constraints.txt").exists(), reason="only in a clone")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def needed() -> list[Requirement]:
    """Every requirement that pyproject.toml names, with those of the extras."""
    return [
        Requirement(line) for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    ]


def pins() -> list[Requirement]:
    return [Requirement(line) for line in text("constraints.txt").splitlines() if line and not line.startswith("#")]


def files() -> Iterator[Path]:
    """Every file of the project that holds text."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("only in a clone")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.exists() and path.suffix not in (".png", ".safetensors", ".npz"):
            yield path


# -- versions ---------------------------------------------------------------------------------------------------------


def test_everything_that_is_needed_is_pinned_to_a_version_that_fits() -> None:
    pinned = {canonicalize_name(pin.name): pin for pin in pins()}
    for requirement in needed():
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is not None, f"constraints.txt does not pin {requirement.name}"
        version = str(pin.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{pin} does not fit {requirement}"


def test_a_pin_is_one_version_from_nowhere_in_particular() -> None:
    for pin in pins():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin} should be name==version, no +local part"
    assert "://" not in text("constraints.txt")


def test_torch_is_the_one_that_the_suite_was_run_with() -> None:
    assert "torch==2.13.0" in text("constraints.txt").splitlines()


def test_every_requirement_has_a_lower_bound() -> None:
    for requirement in needed():
        assert str(requirement.specifier).startswith(">="), f"{requirement} should say from which version on"


def test_everything_imported_is_required() -> None:
    named = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    named |= {"gguf", "jupytext", "jupyter-core", "distributed"}  # done without: GGUF files, building, clusters
    homes = metadata.packages_distributions()
    for path in (ROOT / "interpwidgets").rglob("*.py"):
        for module in _imported(path) - set(sys.stdlib_module_names) - {"interpwidgets"}:
            owners = {canonicalize_name(owner) for owner in homes.get(module, [module])}
            assert owners & named, f"{path.relative_to(ROOT)} imports {module}, which pyproject.toml does not require"


def _imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.split(".")[0])
    return modules


def test_conda_users_get_the_same() -> None:
    environment = yaml.safe_load(text("environment.yml"))
    python, pip, last = environment["dependencies"]
    assert (python, pip) == (f"python={_oldest_python()}", "pip")
    constraints, project = last["pip"]
    assert constraints == "-c constraints.txt"
    asked = re.fullmatch(r"-e \.\[([a-z,]+)\]", project)
    assert asked, f"{project} should install the project itself, with extras"
    assert set(asked[1].split(",")) <= set(EXTRAS)


def test_the_pins_were_resolved_from_the_oldest_python_on() -> None:
    assert f"--python-version {_oldest_python()} " in text("constraints.txt")
    assert PROJECT["requires-python"] == f">={_oldest_python()}"


def _oldest_python() -> str:
    """The first Python of the classifiers, which name those that the suite has run on."""
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    return str(min(versions, key=lambda version: int(version[2:])))


def test_one_release_number_everywhere() -> None:
    assert metadata.version("interpwidgets") == __version__, "install again: pip install -e ."
    assert yaml.safe_load(text("CITATION.cff"))["version"] == __version__
    assert re.findall(r"^## (\d\S+)", text("CHANGELOG.md"), re.MULTILINE)[0] == __version__


# -- commands and addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_shows_the_two_commands(command: str) -> None:
    assert command in text("README.md").splitlines()


def test_ci_runs_the_command_of_the_readme() -> None:
    assert COMMANDS[1] in text(".ci/run")
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs == ["bash .ci/run"]


def test_links_in_the_papers_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        for link in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)\s\"]+)", text(page)):
            assert link.startswith("https://") or (ROOT / link).exists(), f"{page} links to {link}"


def test_the_address_of_the_project_is_written_once() -> None:
    for address in PROJECT["urls"].values():
        assert address.startswith(_urls.REPOSITORY)
    assert yaml.safe_load(text("CITATION.cff"))["repository-code"] == _urls.REPOSITORY
    for path in (ROOT / "interpwidgets").rglob("*.py"):
        if path.name != "_urls.py":
            assert _urls.REPOSITORY not in path.read_text(encoding="utf-8"), f"{path} should use interpwidgets._urls"


# -- order ------------------------------------------------------------------------------------------------------------


def test_notebooks_are_built_from_their_sources() -> None:
    old = [path.relative_to(ROOT).as_posix() for path in stale(ROOT / "solutions", ROOT / "chapters")]
    assert old == [], "run `interpwidgets build`"


def test_no_floor_uses_one_above_it() -> None:
    lint = shutil.which("lint-imports", path=Path(sys.executable).parent)
    assert lint, 'import-linter is missing: pip install -c constraints.txt -e ".[test]"'
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import interpwidgets",
        "import interpwidgets.cli",
        "import interpwidgets.export",
        "import numpy\nfrom interpwidgets import AttentionHeads\n"
        "AttentionHeads(['a', 'b'], numpy.tril(numpy.ones((1, 1, 2, 2))))",
    ],
)
def test_pictures_of_arrays_load_no_models(code: str) -> None:
    code += "\nimport sys\nprint(sorted({'torch', 'transformers', 'circuitsvis', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_top_of_the_house_is_tidy() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in files()}
    assert {name for name in top if not name.startswith(".")} <= {
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "benchmarks",
        "chapters",
        "constraints.txt",
        "containers",
        "docs",
        "environment.yml",
        "examples",
        "frontend",
        "interpwidgets",
        "pyproject.toml",
        "solutions",
        "tests",
    }


def test_no_file_knows_the_machine_it_was_made_on() -> None:
    traces = re.compile(r"/(?:work|root|opt|Users|home/\w+)/|/tmp/\w|\bindex-url\b|\bfind-links\b")
    for path in files():
        if path == Path(__file__):
            continue
        found = traces.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_the_lock_file_of_the_page_side_names_no_host() -> None:
    assert '"resolved"' not in text("frontend/package-lock.json")


def test_notebooks_are_stored_without_outputs() -> None:
    for folder in ("chapters", "solutions"):
        for path in (ROOT / folder).glob("*.ipynb"):
            assert '"output_type"' not in path.read_text(encoding="utf-8"), f"{path} holds outputs"


def test_all_widgets_together_are_small_enough_to_travel_with_a_notebook() -> None:
    static = ROOT / "interpwidgets/widgets/static"
    sizes = {name: (static / name).stat().st_size for name in ("bundle.js", "host.js", "stub.js")}
    assert sizes["bundle.js"] < 150_000
    assert sizes["host.js"] < 10_000
    assert sizes["stub.js"] < 1_000
