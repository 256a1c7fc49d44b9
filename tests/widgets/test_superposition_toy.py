"""SuperpositionToy without a page: what it takes, what it refuses, what it sends."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from interpwidgets.methods.superposition import Toy, phase_diagram, train_toys
from interpwidgets.widgets import _phases, superposition_toy
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets.superposition_toy import STEPS, SuperpositionToy

W = np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)  # [step, hidden, feature]


@pytest.fixture
def toy() -> SuperpositionToy:
    return SuperpositionToy()


def test_it_needs_no_torch():
    code = "import sys; from interpwidgets import SuperpositionToy as S; S(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("features", 13, "features is out of range. Expected 2 to 12, got 13."),
        ("hidden", 2.5, "hidden is no number. Expected a whole number, got float 2.5."),
        ("sparsity", 1, "Expected 0 to 0.99, got 1."),
        ("sparsity", float("nan"), "sparsity is out of range."),
        ("decay", "x", "decay is no number. Expected a number, got str 'x'."),
        ("correlation", -0.1, "Expected 0 to 0.9"),
        ("seed", -1, "seed is out of range."),
        ("step", 1001, "There is no step 1001. Expected 0 to 1000, got 1001."),
        ("chosen", 5, "There is no feature 5. Expected 0 to 4, got 5."),
        ("theme", "blue", "There is no theme 'blue'."),
    ],
)
def test_what_a_setting_cannot_be_is_refused_and_it_stays(toy, name, value, said):
    before = getattr(toy, name)
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        setattr(toy, name, value)
    assert getattr(toy, name) == before
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        SuperpositionToy(**{name: value})


def test_numbers_of_other_libraries_are_numbers():
    toy = SuperpositionToy(
        features=np.int64(6), sparsity=np.float32(0.5), decay=torch.tensor(1.0), chosen=torch.tensor(3)
    )
    assert (toy.features, toy.sparsity, toy.decay, toy.chosen) == (6, 0.5, 1.0, 3)


def test_a_page_that_names_what_cannot_be_hears_what_is(toy, monkeypatch):
    told = []
    monkeypatch.setattr(toy, "send_state", lambda key=None: told.append(key))
    toy.set_state({"chosen": 9})
    assert toy.chosen == 0
    assert told[-1] == ["chosen"]


def test_fewer_features_leave_a_choice_that_exists(toy):
    toy.chosen = 4
    toy.features = 3
    assert toy.chosen == 2


def test_what_is_selected_is_what_torch_trains(toy):
    toy.step = 120
    expected = train_toys([Toy()], every=120).W[1, 0]
    np.testing.assert_array_equal(toy.selected, expected.numpy())
    assert len(repr(toy)) < 100


# -- the phase diagram --------------------------------------------------------------------------------------------


def test_the_phase_diagram_is_of_the_size_on_show(toy):
    assert toy._phase.shape == (14, 24)
    assert toy._phase_of == [5, 2]
    toy.features = 7
    assert toy._phase_of == [7, 2]
    assert toy._phase.max() <= 7
    toy.hidden = 7 - 1
    assert toy._phase is None, "of six dimensions no map is shipped"


def test_every_map_that_is_promised_is_there():
    for hidden in range(1, _phases.MAPPED + 1):
        for features in range(hidden + 1, _phases.FEATURES[1] + 1):
            found = _phases.phase_map(features, hidden)
            assert found.shape == (len(_phases.DECAYS), len(_phases.SPARSITIES))
            assert found.max() <= features
            assert found[-1, 0] <= found[0, 12]


def test_shipped_maps_are_what_the_method_computes():
    columns, rows = [0, 12, 18], [2, 7]
    found = phase_diagram(5, 2, [_phases.SPARSITIES[i] for i in columns], [_phases.DECAYS[i] for i in rows]).numpy()
    assert (found == _phases.phase_map(5, 2)[np.ix_(rows, columns)]).mean() >= 5 / 6


# -- weights from Python ------------------------------------------------------------------------------------------


def test_weights_of_ones_own_cross_as_float32():
    toy = SuperpositionToy.from_weights(
        torch.tensor(W).double(), b=np.ones((4, 5)), steps=[0, 10, 20, 50], losses=[3, 2, 1, 0.5]
    )
    np.testing.assert_array_equal(toy._weights, W)
    assert toy._biases.shape == (4, 5)
    assert (toy._steps, toy._losses, toy.step) == ([0, 10, 20, 50], [3, 2, 1, 0.5], 50)
    toy.step = 30
    np.testing.assert_array_equal(toy.selected, W[2])
    assert "4 steps of weights" in repr(toy)
    json.dumps(toy._losses)


def test_one_matrix_is_one_step():
    toy = SuperpositionToy.from_weights(W[0], chosen=4)
    assert toy._weights.shape == (1, 2, 5)
    assert toy.chosen == 4


def test_a_training_loop_is_followed_unless_somebody_looks_back(toy):
    parameter = torch.nn.Parameter(torch.tensor(W[0]))
    for i in range(5):
        toy.show(parameter, 100 * i, loss=parameter.sum())
    assert (toy.step, toy._steps) == (400, [0, 100, 200, 300, 400])
    toy.step = 200
    toy.show(parameter)
    assert (toy.step, toy._steps[-1], toy._losses[-1]) == (200, 401, None)


def test_a_step_that_is_not_after_the_last_begins_anew(toy):
    for i in (0, 1, 2):
        toy.show(W[0], i)
    toy.show(W[0][:, :3], 0, loss=float("nan"))
    assert (toy._steps, toy._weights.shape, toy._losses, toy.step) == ([0], (1, 2, 3), [None], 0)


def test_a_long_training_keeps_its_first_its_last_and_even_steps_between(toy):
    for i in range(2000):
        toy._take(W[0], i, None, None)
    toy._push()
    assert len(toy._steps) <= superposition_toy.MOST_SENT
    assert (toy._steps[0], toy._steps[-1]) == (0, 1999)
    assert set(np.diff(toy._steps[:-1])) == {8}


def test_large_weights_keep_fewer_steps(toy):
    for i in range(20):
        toy._take(np.zeros((50, 200), np.float32), i, None, None)
    toy._push()
    assert toy._weights.nbytes <= superposition_toy.MOST_BYTES + 2 * 40_000


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda toy: toy.show(W), r"Expected \[hidden, feature\], got \[4, 2, 5\]"),
        (lambda toy: toy.show(W[0] * np.nan), r"not finite. Expected finite numbers, got nan at \[0, 0\]"),
        (lambda toy: toy.show(W[0][:, :3]), r"another shape than before. Expected \[2, 5\], got \[2, 3\]"),
        (lambda toy: toy.show(W[0], b=[1, 2]), r"b does not fit W. Expected \[5\], got \[2\]"),
        (lambda toy: toy.show(W[0], loss="x"), "The loss is no number"),
        (lambda toy: toy.show(W[0], step=1.5), "A step is no number"),
        (lambda toy: toy.show("W"), "W"),
        (lambda toy: SuperpositionToy.from_weights(W, steps=[1]), "steps does not fit W. Expected 4 steps, got 1"),
        (lambda toy: SuperpositionToy.from_weights(W, steps=[3, 2, 1, 0]), "do not go up"),
        (lambda toy: SuperpositionToy.from_weights(W, losses=[1, 2]), "losses does not fit W"),
    ],
)
def test_weights_that_cannot_be_shown_leave_everything_as_it_was(toy, call, said):
    toy.show(W[1], 7)
    with pytest.raises(InputError, match=said):
        call(toy)
    assert toy._steps == [7]
    np.testing.assert_array_equal(toy._weights[0], W[1])


# -- what is saved ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [SuperpositionToy, lambda: SuperpositionToy.from_weights(W)])
def test_pages_that_show_no_widget_get_a_picture_and_a_line(make):
    data, _ = make()._repr_mimebundle_()
    assert len(data["image/png"]) < 5000
    assert data["text/plain"].startswith("SuperpositionToy(5 features in 2 dimensions")


def test_what_a_toy_saves_is_small(toy):
    state = {name: value for name, value in toy.get_state().items() if name != "_esm"}
    data = len(state.pop("_phase")["data"])
    assert data == 14 * 24
    assert len(json.dumps(state, default=str)) < 4000
    assert toy.step == STEPS
