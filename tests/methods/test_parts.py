"""Circuits: identities that hold for every model, and null cases."""

from collections.abc import Iterator

import pytest
import torch

from interpwidgets.methods.circuits import composition_score, copying_score


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# -- circuits --------------------------------------------------------------------------------------------------------


def weights(vocab: int = 12, d_model: int = 7, d_head: int = 3) -> tuple[torch.Tensor, ...]:
    shapes = ((vocab, d_model), (d_model, d_head), (d_head, d_model), (d_model, vocab))
    return tuple(torch.randn(*shape, dtype=torch.float64) for shape in shapes)


def test_a_head_that_undoes_itself_copies_and_its_negative_suppresses() -> None:
    W_E, W_V, _, _ = weights()
    assert copying_score(W_E, W_V, W_V.T, W_E.T).item() == pytest.approx(1)
    assert copying_score(W_E, W_V, -W_V.T, W_E.T).item() == pytest.approx(-1)


def test_the_small_matrix_has_the_eigenvalues_of_the_full_circuit() -> None:
    W_E, W_V, W_O, W_U = weights()
    full = torch.linalg.eigvals(W_E @ W_V @ W_O @ W_U)
    expected = (full.sum() / full.abs().sum()).real
    assert copying_score(W_E, W_V, W_O, W_U).item() == pytest.approx(expected.item())


def test_random_heads_copy_no_more_than_they_suppress() -> None:
    scores = torch.stack([copying_score(*weights(40, 16, 4)) for _ in range(300)])
    assert abs(scores.mean()) < 3 * scores.std() / 300**0.5
    assert scores.abs().max() <= 1


def test_a_head_without_output_scores_0() -> None:
    W_E, W_V, W_O, W_U = weights()
    assert copying_score(W_E, W_V, 0 * W_O, W_U) == 0


def test_composition_is_1_where_all_is_read_and_0_where_nothing_is() -> None:
    right, down = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    assert composition_score(right, right) == 1
    assert composition_score(right, down) == 0


def test_composition_does_not_depend_on_sizes_and_is_at_most_1() -> None:
    A, B = torch.randn(5, 6, 6), torch.randn(4, 6, 6)
    scores = composition_score(A, B)
    assert scores.shape == (5, 4)
    torch.testing.assert_close(composition_score(7 * A, 0.1 * B), scores)
    assert scores.max() <= 1


def test_random_full_rank_matrices_compose_at_one_over_the_root_of_their_size() -> None:
    scores = composition_score(torch.randn(20, 64, 64), torch.randn(20, 64, 64))
    assert scores.mean().item() == pytest.approx(1 / 8, rel=0.02)
