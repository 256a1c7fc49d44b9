"""What `Progress` counts, says and refuses."""

import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest

from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets.progress import Progress


def item(name: str, state: str, points: int = 2, **more: Any) -> dict[str, Any]:
    kind = "question" if name[-1].isalpha() else "exercise"
    return {"id": name, "name": f"f_{name}", "kind": kind, "state": state, "points": points, "minutes": 10, **more}


CHAPTERS = [
    {
        "number": "04",
        "title": "QK and OV algebra",
        "part": "II Attention",
        "minutes": 228,
        "items": [item("04.1", "done"), item("04.2", "hinted"), item("04.A", "done", 1)],
    },
    {
        "number": "05",
        "title": "Induction",
        "part": "II Attention",
        "minutes": 6,
        "items": [item("05.1", "tried", tries=3), item("05.2", "open"), item("05.A", "open", 1)],
    },
]


def changed(**item_change: Any) -> list[dict[str, Any]]:
    chapters = deepcopy(CHAPTERS)
    chapters[1]["items"][0].update(item_change)
    return chapters


def test_one_line_says_where_the_learner_stands():
    shown = Progress(CHAPTERS, "05.1")
    assert repr(shown) == "Your progress: 5 of 10 points, 2 of 4 exercises passed, 3 h 54 at work; next: 05.1 f_05.1"


def test_the_text_shows_every_item_by_its_shape():
    lines = str(Progress(CHAPTERS, note="Nothing is saved.")).splitlines()
    assert lines[0] == "Nothing is saved."
    assert lines[2] == "04  QK and OV algebra  ■ ▣ ●  5 / 5"
    assert lines[3] == "05  Induction          ◧ □ ○  0 / 5"


def test_a_page_without_widgets_gets_the_line():
    assert Progress(CHAPTERS)._repr_mimebundle_()[0]["text/plain"].startswith("Your progress: 5 of 10 points")


def test_a_course_without_exercises_is_a_course():
    assert repr(Progress([])) == "Your progress: 0 of 0 points, 0 of 0 exercises passed"


def test_half_a_character_in_a_title_does_not_break_the_wire():
    shown = Progress([{**CHAPTERS[0], "title": "\ud83d"}])
    assert shown.chapters[0]["title"] == "\\ud83d"


@pytest.mark.parametrize(
    ("chapters", "current", "sentence"),
    [
        (changed(state="passed"), None, r"Item 05.1 of chapter 05 has the state 'passed'. Expected open or tried or"),
        (changed(kind="exam"), None, "has the kind 'exam'. Expected exercise or question"),
        (changed(points=-1), None, "has -1 points. Expected a number, 0 or more"),
        (changed(minutes=float("nan")), None, "has nan minutes"),
        (changed(id="05.2"), None, "There are two items 05.2"),
        ([{"title": "Induction"}], None, r"Chapter \? has no 'number'. Got title"),
        (CHAPTERS, "05.9", "There is no item '05.9'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named(chapters, current, sentence):
    with pytest.raises(InputError, match=sentence):
        Progress(chapters, current)


def test_it_loads_no_models():
    code = "import sys, interpwidgets.widgets.progress; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
