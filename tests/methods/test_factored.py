"""A factored matrix gives what its product gives, for every shape, without the product."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interpwidgets.methods.factored import FactoredMatrix, top_pairs

# float64: a product of random factors has tiny eigenvalues and singular values, which float32 leaves to chance.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SIZES = st.integers(1, 9)
BATCHES = st.sampled_from([(), (3,), (2, 3)])
SEEDS = st.integers(0, 2**31)
UNTIMED = settings(deadline=None)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def factored(seed: int, batch: tuple[int, ...], rows: int, rank: int, columns: int) -> FactoredMatrix:
    return FactoredMatrix(random(seed, *batch, rows, rank), random(seed + 1, *batch, rank, columns))


MATRICES = st.builds(factored, SEEDS, BATCHES, SIZES, SIZES, SIZES)
SQUARES = st.builds(lambda seed, batch, n, rank: factored(seed, batch, n, rank, n), SEEDS, BATCHES, SIZES, SIZES)


@UNTIMED
@given(MATRICES)
def test_norm_and_transpose_are_those_of_the_product(matrix: FactoredMatrix) -> None:
    dense = matrix.product()
    assert matrix.shape == dense.shape
    torch.testing.assert_close(matrix.norm(), torch.linalg.matrix_norm(dense), **CLOSE)
    torch.testing.assert_close(matrix.T.product(), dense.mT, **CLOSE)


@UNTIMED
@given(SQUARES)
def test_trace_and_eigenvalues_are_those_of_the_product(matrix: FactoredMatrix) -> None:
    dense = matrix.product()
    trace = dense.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(matrix.trace(), trace, **CLOSE)
    values = matrix.eigenvalues()
    assert values.shape[-1] == min(matrix.rank, dense.shape[-1])
    torch.testing.assert_close(values.sum(-1).real, trace, **CLOSE)
    # with zeros for the rest they are the roots of the same polynomial
    for x in (1.7, -2.3):
        expected = torch.linalg.det(x * torch.eye(dense.shape[-1], dtype=dense.dtype) - dense)
        rest = x ** (dense.shape[-1] - values.shape[-1])
        torch.testing.assert_close((x - values).prod(-1).real * rest, expected, rtol=1e-5, atol=1e-4)


@UNTIMED
@given(MATRICES)
def test_the_svd_is_orthonormal_sorted_and_rebuilds_the_product(matrix: FactoredMatrix) -> None:
    U, S, Vh = matrix.svd()
    dense = matrix.product()
    n = min(matrix.rank, *dense.shape[-2:])
    assert (U.shape[-1], S.shape[-1], Vh.shape[-2]) == (n, n, n)
    torch.testing.assert_close(U * S[..., None, :] @ Vh, dense, **CLOSE)
    identity = torch.eye(n, dtype=S.dtype).expand(*S.shape, n)
    torch.testing.assert_close(U.mT @ U, identity, **CLOSE)
    torch.testing.assert_close(Vh @ Vh.mT, identity, **CLOSE)
    torch.testing.assert_close(S, torch.linalg.svdvals(dense)[..., :n], **CLOSE)


@UNTIMED
@given(SEEDS, BATCHES, SIZES, SIZES, SIZES, SIZES, SIZES)
def test_products_on_both_sides_stay_factored(
    seed: int, batch: tuple[int, ...], rows: int, rank: int, middle: int, other_rank: int, columns: int
) -> None:
    A = factored(seed, batch, rows, rank, middle)
    B = factored(seed + 7, batch, middle, other_rank, columns)
    both = A @ B
    assert both.rank == min(rank, other_rank)
    torch.testing.assert_close(both.product(), A.product() @ B.product(), **CLOSE)
    W, M = random(seed, middle, columns), random(seed, 4, rows)
    for made, expected in ((A @ W, A.product() @ W), (M @ A, M @ A.product())):
        assert isinstance(made, FactoredMatrix)
        torch.testing.assert_close(made.product(), expected, **CLOSE)


@UNTIMED
@given(MATRICES)
def test_a_vector_on_either_side_gives_a_vector(matrix: FactoredMatrix) -> None:
    dense = matrix.product()
    x, y = random(3, dense.shape[-1]), random(4, dense.shape[-2])
    torch.testing.assert_close(matrix @ x, dense @ x, **CLOSE)
    torch.testing.assert_close(y @ matrix, y @ dense, **CLOSE)


@UNTIMED
@given(SEEDS, SIZES, SIZES, SIZES)
def test_in_float32_all_agree_to_1e_5_of_the_size(seed: int, rows: int, rank: int, columns: int) -> None:
    left, right = random(seed, rows, rank, dtype=torch.float32), random(seed + 1, rank, columns, dtype=torch.float32)
    matrix, exact = FactoredMatrix(left, right), FactoredMatrix(left.double(), right.double())
    near = 1e-5 * (left.norm() * right.norm()).item()
    assert abs(matrix.norm() - exact.norm()) < near
    U, S, Vh = matrix.svd()
    torch.testing.assert_close((U * S @ Vh).double(), exact.product(), rtol=0, atol=near)


def test_factors_that_cancel_have_norm_0_in_float32() -> None:
    left = torch.randn(50, 4)
    right = torch.zeros(4, 50)
    doubled = FactoredMatrix(torch.cat([left, -left], 1), torch.cat([right + 1, right + 1]))
    assert doubled.norm() < 1e-5 * left.norm() * 200**0.5


def test_an_index_picks_matrices_and_leaves_rows_and_columns_whole() -> None:
    matrix = factored(0, (2, 3), 5, 2, 6)
    dense = matrix.product()
    for index in (1, (1, 2), slice(0, 1), ([0, 1], [2, 0])):
        torch.testing.assert_close(matrix[index].product(), dense[index], **CLOSE)
    torch.testing.assert_close(matrix[..., 2].product(), dense[:, 2], **CLOSE)
    with pytest.raises(IndexError):
        matrix[0, 0, 0]


def test_one_factor_may_serve_a_whole_batch() -> None:
    one, many = random(0, 5, 2), random(1, 3, 2, 5)
    matrix = FactoredMatrix(one, many)
    assert matrix.shape == (3, 5, 5)
    torch.testing.assert_close(matrix[1].product(), one @ many[1])
    torch.testing.assert_close(matrix.norm(), torch.linalg.matrix_norm(one @ many))


def test_gradients_flow_to_the_factors() -> None:
    left, right = random(0, 5, 2).requires_grad_(), random(1, 2, 5).requires_grad_()
    matrix = FactoredMatrix(left, right)
    (matrix.norm() ** 2 / 2).backward()
    torch.testing.assert_close(left.grad, (left @ right @ right.T).detach())


# -- the largest entries


@UNTIMED
@given(SEEDS, SIZES, SIZES, SIZES, st.integers(1, 20), st.integers(1, 10), st.sampled_from([-3.0, 0.0, 3.0]))
def test_the_top_pairs_are_those_of_the_whole_matrix(
    seed: int, rows: int, rank: int, columns: int, k: int, chunk: int, shift: float
) -> None:
    left, right = random(seed, rows, rank), random(seed + 1, rank, columns)
    matrix = FactoredMatrix(
        torch.cat([left, left.new_full((rows, 1), shift)], 1), torch.cat([right, right[:1] * 0 + 1])
    )
    dense = matrix.product()
    k = min(k, dense.numel())
    found = top_pairs(matrix, k, chunk)
    torch.testing.assert_close(found.values, dense.flatten().topk(k).values)
    torch.testing.assert_close(dense[found.rows, found.columns], found.values)
    assert len({*zip(found.rows.tolist(), found.columns.tolist(), strict=True)}) == k


def test_top_pairs_hold_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = factored(0, (), 300, 2, 200)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel())
            return out

    with Watch():
        top_pairs(matrix, 5, chunk=8)
    assert largest <= 8 * 200


def test_equal_entries_are_all_found() -> None:
    found = top_pairs(FactoredMatrix(torch.ones(4, 1), torch.ones(1, 4)), k=16, chunk=3)
    assert found.values.tolist() == [1.0] * 16
    assert len({*zip(found.rows.tolist(), found.columns.tolist(), strict=True)}) == 16


# -- what cannot be


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ((3, 2), (3, 4), r"\[3, 2\] and \[3, 4\]"),
        ((3,), (3, 4), r"\[3\] and \[3, 4\]"),
        ((2, 3, 4), (3, 4, 5), r"\[2\] and \[3\]"),
    ],
)
def test_factors_that_do_not_fit_are_told_apart(left: tuple[int, ...], right: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FactoredMatrix(torch.zeros(left), torch.zeros(right))


def test_only_square_matrices_have_a_trace_and_eigenvalues() -> None:
    matrix = factored(0, (), 3, 2, 4)
    for ask in (matrix.trace, matrix.eigenvalues):
        with pytest.raises(ValueError, match="3 x 4"):
            ask()


@pytest.mark.parametrize(
    ("batch", "k", "chunk", "said"),
    [((2,), 1, 1, "take one of it"), ((), 13, 1, "1 and 12"), ((), 0, 1, "1 and 12"), ((), 1, 0, "at least 1 row")],
)
def test_top_pairs_say_what_they_cannot_do(batch: tuple[int, ...], k: int, chunk: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        top_pairs(factored(0, batch, 3, 2, 4), k, chunk)


def test_a_factored_matrix_says_its_shape() -> None:
    assert repr(factored(0, (2,), 3, 1, 4)) == "FactoredMatrix([2, 3, 4], rank 1)"
