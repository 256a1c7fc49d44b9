"""What a person types and what they read: every command, and every mistake in a sentence."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result

from interpwidgets import __version__, doctor
from interpwidgets.cli import main
from interpwidgets.course import lab

COMMAND = [sys.executable, "-m", "interpwidgets"]


def say(*words: str) -> Result:
    """What `interpwidgets` answers to these words; an exception that is no sentence fails the test."""
    result = CliRunner().invoke(main, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in an empty folder, as a learner does."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_lab(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str, bool, int | None]]:
    """JupyterLab is not started; what it would have been started with is noted."""
    started: list[tuple[Path, str, bool, int | None]] = []

    def start(*arguments: object) -> int:
        started.append(arguments)  # type: ignore[arg-type]
        return 0

    monkeypatch.setattr(lab, "start", start)
    return started


# -- at the door ------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_where_to_begin() -> None:
    text = say("--help").output
    for word in ("learn", "run", "export", "doctor", "build", "New here?"):
        assert word in text


@pytest.mark.parametrize("command", ["learn", "run", "export", "doctor", "build"])
def test_every_command_explains_itself(command: str) -> None:
    assert len(say(command, "--help").output) > 150


def test_version_is_the_one_of_the_release() -> None:
    assert say("--version").output.split()[-1] == __version__ == metadata.version("interpwidgets")


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom interpwidgets.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'papermill', 'anywidget'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- learn ------------------------------------------------------------------------------------------------------------


def test_learn_copies_the_course_and_opens_its_first_chapter(
    no_lab: list[tuple[Path, str, bool, int | None]], elsewhere: Path
) -> None:
    answer = say("learn").output
    assert f"The course is in {elsewhere / 'interpwidgets-course'}" in answer
    assert "00_start_here.ipynb  placed" in answer
    assert (elsewhere / "interpwidgets-course/00_start_here.ipynb").exists()
    assert no_lab == [(Path("interpwidgets-course"), "00_start_here.ipynb", True, None)]


def test_learn_goes_where_it_is_told(no_lab: list[tuple[Path, str, bool, int | None]], elsewhere: Path) -> None:
    say("learn", "--dir", "a/b", "--no-browser", "--port", "8765")
    assert (elsewhere / "a/b/00_start_here.ipynb").exists()
    assert no_lab == [(Path("a/b"), "00_start_here.ipynb", False, 8765)]


@pytest.mark.usefixtures("no_lab")
def test_learn_twice_keeps_what_the_learner_wrote(elsewhere: Path) -> None:
    say("learn")
    mine = elsewhere / "interpwidgets-course/00_start_here.ipynb"
    notebook = nbformat.read(mine, as_version=4)
    notebook.cells[2].source += "\n# my own line"
    nbformat.write(notebook, mine)
    edited = mine.read_text()
    assert "is yours: kept as it is" in say("learn").output
    assert mine.read_text() == edited


def test_learn_into_a_file_is_a_sentence(elsewhere: Path) -> None:
    (elsewhere / "taken").write_text("")
    answer = say("learn", "--dir", "taken")
    assert (answer.exit_code, "taken is a file; the course needs a folder" in answer.output) == (1, True)


def test_learn_without_jupyterlab_places_the_course_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> None:
    monkeypatch.setattr(lab, "find_spec", lambda _: None)
    answer = say("learn")
    assert answer.exit_code == 1
    assert 'pip install "interpwidgets[lab]"' in answer.output
    assert (elsewhere / "interpwidgets-course/00_start_here.ipynb").exists()


def test_learn_on_a_taken_port_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = say("learn", "--port", str(port))
    assert (answer.exit_code, f"Port {port} is in use" in answer.output) == (1, True)


@pytest.fixture
def running() -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`interpwidgets learn --no-browser` on a terminal of its own, and the address that it printed."""
    pty = pytest.importorskip("pty", reason="a terminal to press Ctrl-C in")
    master, slave = pty.openpty()
    learn = subprocess.Popen(
        [*COMMAND, "learn", "--no-browser"], stdin=slave, stdout=slave, stderr=slave, preexec_fn=_own_terminal
    )
    os.close(slave)
    text, deadline = "", time.monotonic() + 60
    while not (found := re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/lab\S*\?token=\w+", text)):
        assert time.monotonic() < deadline, f"no address within a minute:\n{text}"
        text += os.read(master, 4096).decode(errors="replace")
    learn.keys = master  # type: ignore[attr-defined]
    try:
        yield learn, found[0]
    finally:
        learn.kill()
        learn.wait()
        os.close(master)


def _own_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _page(address: str) -> str:
    """The page at an address that may have been printed a moment before it is served."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(address, timeout=20) as page:
                return str(page.read().decode())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _drain(learn: "subprocess.Popen[bytes]", seconds: float) -> str:
    """What it still says until it ends."""
    text, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            text += os.read(learn.keys, 4096)  # type: ignore[attr-defined]
        except OSError:  # the other end of the terminal is closed: it has ended
            break
    return text.decode(errors="replace")


@pytest.mark.slow
def test_learn_serves_the_first_chapter_until_ctrl_c(running: tuple["subprocess.Popen[bytes]", str]) -> None:
    learn, address = running
    assert "/lab/tree/00_start_here.ipynb" in address
    assert "JupyterLab" in _page(address)
    os.write(learn.keys, b"\x03")  # type: ignore[attr-defined]
    time.sleep(1)
    os.write(learn.keys, b"y\n")  # type: ignore[attr-defined]
    said = _drain(learn, 30)
    assert learn.wait(10) == 0
    assert "Traceback" not in said


@pytest.mark.slow
def test_ending_learn_ends_jupyterlab(running: tuple["subprocess.Popen[bytes]", str]) -> None:
    learn, address = running
    learn.send_signal(signal.SIGTERM)
    _drain(learn, 30)
    learn.wait(10)
    port = int(address.split(":")[2].split("/")[0])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


# -- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["0", "00", "start_here", "00_start_here", "chapters/00_start_here.ipynb"])
def test_a_chapter_has_many_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Path] = []
    monkeypatch.setattr("interpwidgets.course.run.run", lambda notebook, *_, **__: ran.append(notebook))
    assert say("run", name).exit_code == 0
    assert ran[0].parts[-2:] == ("solutions", "00_start_here.ipynb")


def test_an_unknown_chapter_gets_the_list_of_those_that_exist() -> None:
    answer = say("run", "77")
    assert answer.exit_code == 1
    assert "There is no chapter '77'. There is:" in answer.output
    assert "00  start_here" in answer.output


def test_parameters_are_values_where_they_look_like_values(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []
    monkeypatch.setattr("interpwidgets.course.run.run", lambda _, __, parameters, **___: given.append(parameters))
    say("run", "00", "-p", "MODEL", "gpt2", "-p", "LAYER", "3", "-p", "SENTENCE", "It's 5 o'clock")
    assert given == [{"MODEL": "gpt2", "LAYER": 3, "SENTENCE": "It's 5 o'clock"}]


@pytest.mark.slow
def test_run_executes_a_solution_and_says_where_it_is(elsewhere: Path) -> None:
    done = subprocess.run([*COMMAND, "run", "00", "-o", "out.ipynb"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Every cell of 00_start_here ran" in done.stdout
    assert "Executing: 100%" in done.stderr
    assert "sentinel: reached the end" in (elsewhere / "out.ipynb").read_text()


@pytest.mark.slow
def test_run_with_a_model_that_does_not_exist_ends_in_the_models_own_sentence() -> None:
    done = subprocess.run(
        [*COMMAND, "run", "00", "-p", "MODEL", "./no-such-model"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "00_start_here: cell " in done.stderr
    assert "LoadError" in done.stderr
    assert "Traceback" not in done.stderr


# -- export, build ----------------------------------------------------------------------------------------------------


def test_exporting_what_is_not_there_says_so() -> None:
    answer = say("export", "nothing.ipynb")
    assert (answer.exit_code, "There is no file nothing.ipynb." in answer.output) == (1, True)


def test_build_outside_of_the_clone_says_what_it_looked_for() -> None:
    answer = say("build")
    assert (answer.exit_code, "There are no sources in solutions" in answer.output) == (1, True)


def test_build_check_names_what_is_stale_and_build_mends_it(elsewhere: Path) -> None:
    (elsewhere / "solutions").mkdir()
    (elsewhere / "solutions/99_x.py").write_text("# %% [markdown]\n# # X\n\n# %%\n1\n")
    stale = say("build", "--check")
    assert stale.exit_code == 1
    assert "chapters/99_x.ipynb" in stale.output
    assert "Run `interpwidgets build`" in stale.output
    assert "Wrote chapters/99_x.ipynb" in say("build").output
    assert say("build", "--check").exit_code == 0


# -- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_finds_everything_that_is_needed_here() -> None:
    answer = say("doctor")
    assert answer.exit_code == 0, answer.output
    for word in ("Python", "torch", "transformers", "CPU", "JupyterLab", "anywidget in the page", "Chromium"):
        assert word in answer.output


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (None, r"ok +Sandbox +bubblewrap; every wall stands"),
        ("Grading needs bubblewrap: apt install bubblewrap", r"-- +Sandbox +none;.*\n +Grading needs bubblewrap: apt"),
    ],
)
def test_doctor_says_whether_submissions_could_be_graded_here(
    monkeypatch: pytest.MonkeyPatch, reason: str | None, line: str
) -> None:
    monkeypatch.setattr("interpwidgets.grading.sandbox.refusal", lambda: reason)
    answer = say("doctor")
    assert answer.exit_code == 0, answer.output
    assert re.search(line, answer.output)


def test_doctor_lets_a_small_model_end_a_sentence() -> None:
    assert re.search(r"ok +storylm reads a sentence +and knows that the kite goes to Lily", say("doctor").output)


def test_doctor_notices_a_model_that_says_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_STORY", ("Tom and Lily went to the park. Lily gave a kite to", "Lily"))
    answer = say("doctor")
    assert answer.exit_code == 1
    assert "ends it with 'Tom' instead of 'Lily'" in answer.output


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        (None, 'missing\n +pip install "anywidget>='),
        ("0.1", '0.1, needed is >=.*\n +pip install "anywidget>=.*" --upgrade'),
    ],
)
def test_doctor_says_what_to_do_about_a_package(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, line: str
) -> None:
    version = metadata.version

    def pretend(name: str) -> str:
        if name != "anywidget":
            return version(name)
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr("importlib.metadata.version", pretend)
    monkeypatch.setattr(doctor, "_page_side", lambda *_, **__: doctor.Finding("page", "fine"))
    answer = say("doctor")
    assert answer.exit_code == 1
    assert re.search(rf"!!  anywidget +{line}", answer.output)
    assert "1 broken" in answer.output


def test_doctor_notices_two_halves_of_a_widget_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page_side = tmp_path / "package.json"
    page_side.write_text('{"version": "0.0.1"}')
    monkeypatch.setattr(doctor, "_extension_files", lambda _: [tmp_path / "nowhere.json", page_side])
    answer = say("doctor")
    assert answer.exit_code == 1
    assert f"0.0.1, but Python has {metadata.version('anywidget')}" in answer.output


def test_doctor_takes_a_missing_browser_as_worth_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    answer = say("doctor")
    assert answer.exit_code == 0
    assert re.search(r"--  Chromium +none\n +Without it the browser tests are skipped", answer.output)
