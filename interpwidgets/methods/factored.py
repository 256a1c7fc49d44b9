"""A product of two thin matrices, without the product: what heads are made of.

    from interpwidgets.methods.factored import FactoredMatrix, top_pairs

    OV = FactoredMatrix(W_V, W_O)               # [head, d_model, d_model], kept as two factors of d_head
    OV.norm(), OV.trace(), OV.eigenvalues()     # one for each head
    U, S, Vh = OV.svd()
    full = W_E @ OV[3] @ W_U                    # [vocab, vocab], still two factors
    top_pairs(full, k=10)                       # its ten largest entries

The product of a [rows, rank] and a [rank, columns] matrix has rank entries that matter in each direction, however many
rows and columns it has. For a head of GPT-2 in token space, [50257, 50257] of rank 64, the product is 10 GB and the
factors are 26 MB. What is asked of such a matrix can be had from the factors::

    A B                  A is [rows, rank], B is [rank, columns]
    (A B) x              A (B x)
    trace(A B)           trace(B A)
    eigenvalues of A B   those of B A, [rank, rank], and 0
    A = Q R              |A B| = |R B|, since Q turns and does not stretch
    A = Q R, B = L P     the SVD of R L, [rank, rank], turned by Q and P, is the SVD of A B

Everything here works on batches: dimensions before the last two, such as heads.
"""

from typing import Any, NamedTuple, overload

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.linalg import eigvals, matrix_norm


class SVD(NamedTuple):
    """``U @ diag(S) @ Vh``, with n the least of rows, columns and rank.

    Singular vectors come in pairs whose common sign is arbitrary, and those whose singular values are nearly equal are
    any basis of the space that they span.
    """

    U: Float[Tensor, "*batch rows n"]  # orthonormal columns
    S: Float[Tensor, "*batch n"]  # the largest first
    Vh: Float[Tensor, "*batch n columns"]  # orthonormal rows


class FactoredMatrix:
    """The matrix ``left @ right``, which is never made unless `product` is called.

    Arguments:
        left: [*batch, rows, rank]; right: [*batch, rank, columns], of the same dtype and device. Batch dimensions are
            broadcast against each other.

    Raises `ValueError` for factors that cannot be multiplied. Nothing is copied; do not write to the factors.
    """

    left: Float[Tensor, "*batch rows rank"]
    right: Float[Tensor, "*batch rank columns"]

    def __init__(self, left: Float[Tensor, "*batch rows rank"], right: Float[Tensor, "*batch rank columns"]) -> None:
        if left.ndim < 2 or right.ndim < 2 or left.shape[-1] != right.shape[-2]:
            raise ValueError(
                "the factors have to be [..., rows, rank] and [..., rank, columns], but they are "
                f"{list(left.shape)} and {list(right.shape)}."
            )
        try:
            batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])  # type: ignore[no-untyped-call]
        except RuntimeError:
            raise ValueError(
                f"the batches of the factors do not fit: {list(left.shape[:-2])} and {list(right.shape[:-2])}."
            ) from None
        self.left = left.expand(*batch, *left.shape[-2:])
        self.right = right.expand(*batch, *right.shape[-2:])

    @property
    def shape(self) -> torch.Size:
        """The shape of the product: [*batch, rows, columns]."""
        return torch.Size((*self.left.shape[:-1], self.right.shape[-1]))

    @property
    def rank(self) -> int:
        """How many columns ``left`` has; the rank of the product is at most this."""
        return self.left.shape[-1]

    @property
    def T(self) -> "FactoredMatrix":
        """The transpose, matrix by matrix."""
        return FactoredMatrix(self.right.mT, self.left.mT)

    def product(self) -> Float[Tensor, "*batch rows columns"]:
        """The whole matrix."""
        return self.left @ self.right

    def __getitem__(self, index: Any) -> "FactoredMatrix":
        """Some matrices of the batch: ``OV[3]``, ``OV[layer, head]``, ``OV[2:4]``. Rows and columns stay whole."""
        inside = (*(index if isinstance(index, tuple) else (index,)), slice(None), slice(None))
        return FactoredMatrix(self.left[inside], self.right[inside])

    @overload
    def __matmul__(self, other: "FactoredMatrix") -> "FactoredMatrix": ...
    @overload
    def __matmul__(self, other: Tensor) -> Any: ...
    def __matmul__(self, other: Any) -> Any:
        """Times a factored matrix or a tensor: factored again, of the smaller rank; times a vector: a vector."""
        if isinstance(other, FactoredMatrix):
            between = self.right @ other.left  # [rank, other rank]
            if self.rank <= other.rank:
                return FactoredMatrix(self.left, between @ other.right)
            return FactoredMatrix(self.left @ between, other.right)
        read = self.right @ other
        return (self.left @ read[..., None])[..., 0] if other.ndim == 1 else FactoredMatrix(self.left, read)

    def __rmatmul__(self, other: Tensor) -> Any:
        """A tensor times this matrix: factored again; a vector times it: a vector."""
        read = other @ self.left
        return (read[..., None, :] @ self.right)[..., 0, :] if other.ndim == 1 else FactoredMatrix(read, self.right)

    def norm(self) -> Float[Tensor, "*batch"]:
        """The Frobenius norm: the root of the sum of all squared entries."""
        tall, wide = (self.left, self.right) if self.shape[-2] <= self.shape[-1] else (self.right.mT, self.left.mT)
        mode = "reduced" if tall.requires_grad else "r"  # Q is needed to differentiate, and for nothing else
        size: Tensor = matrix_norm(torch.linalg.qr(tall, mode).R @ wide)
        return size

    def trace(self) -> Float[Tensor, "*batch"]:
        """The sum of the diagonal. Raises `ValueError` if the matrix is not square."""
        self._square("a trace")
        return (self.left * self.right.mT).sum((-2, -1))

    def eigenvalues(self) -> Complex[Tensor, "*batch n"]:
        """The eigenvalues, in no order: n is the lesser of rank and rows, and the others are 0.

        Raises `ValueError` if the matrix is not square.
        """
        self._square("eigenvalues")
        eigenvalues: Tensor = eigvals(self.right @ self.left if self.rank <= self.shape[-1] else self.product())
        return eigenvalues

    def svd(self) -> SVD:
        """The singular value decomposition, from the small sides: two QR decompositions and the SVD of what is left."""
        Q, R = torch.linalg.qr(self.left)
        P, L = torch.linalg.qr(self.right.mT)
        U, S, Vh = torch.linalg.svd(R @ L.mT, full_matrices=False)
        return SVD(Q @ U, S, Vh @ P.mT)

    def _square(self, what: str) -> None:
        rows, columns = self.shape[-2:]
        if rows != columns:
            raise ValueError(f"only a square matrix has {what}; this one is {rows} x {columns}.")

    def __repr__(self) -> str:
        return f"FactoredMatrix({list(self.shape)}, rank {self.rank})"


class TopPairs(NamedTuple):
    """Entries of a matrix, the largest first. In a circuit in token space, rows and columns are token ids."""

    rows: Int[Tensor, " k"]
    columns: Int[Tensor, " k"]
    values: Float[Tensor, " k"]


def top_pairs(matrix: FactoredMatrix, k: int = 10, chunk: int = 64) -> TopPairs:
    """The ``k`` largest entries of ``matrix``, made a few rows at a time; those of ``-left @ right`` are the smallest.

    ``chunk``: how many rows are held at a time. Memory above some copies of the factors is about twice ``chunk`` x
    columns numbers. No entry is larger than its row of the left factor is long times its column of the right one, so
    rows and columns are taken from the longest to the shortest, and those that are too short for the entries found so
    far are passed over. Factors that share the singular values evenly make that bound tight. Raises `ValueError` for a
    batch of matrices and for sizes that cannot be.
    """
    _check_top(matrix, k, chunk)
    U, S, Vh = matrix.svd()
    left, right = U * S.sqrt(), S.sqrt()[:, None] * Vh
    heights, row_order = left.norm(dim=-1).sort(descending=True)
    widths, column_order = right.norm(dim=-2).sort(descending=True)
    left, right = left[row_order], right[:, column_order]
    values, places = left.new_empty(0), row_order.new_empty(2, 0)
    for start in range(0, len(left), chunk):
        floor = values[-1] if len(values) == k else values.new_tensor(-torch.inf)
        n_columns = int((heights[start] * widths * (1 + 1e-5) >= floor).sum())  # 1e-5: what rounding may add
        if not n_columns:
            break
        block = left[start : start + chunk] @ right[:, :n_columns]
        rows = (block.amax(1) > floor).nonzero()[:, 0]
        found, at = block[rows].flatten().topk(min(k, len(rows) * n_columns))
        new = torch.stack([rows[at // n_columns] + start, at % n_columns])
        values, order = torch.cat([values, found]).sort(descending=True, stable=True)
        values, places = values[:k], torch.cat([places, new], 1)[:, order[:k]]
    rows, columns = row_order[places[0]], column_order[places[1]]
    values, order = (matrix.left[rows] * matrix.right[:, columns].T).sum(1).sort(descending=True)  # rounded only once
    return TopPairs(rows[order], columns[order], values)


def _check_top(matrix: FactoredMatrix, k: int, chunk: int) -> None:
    if len(matrix.shape) > 2:
        raise ValueError(
            f"the pairs are those of one matrix, but this is a batch of shape {list(matrix.shape)}; take one of it, "
            "such as matrix[0]."
        )
    if not 1 <= k <= matrix.shape.numel():
        raise ValueError(f"k has to be between 1 and {matrix.shape.numel()}, the entries of the matrix; it is {k}.")
    if chunk < 1:
        raise ValueError(f"chunk has to be at least 1 row; it is {chunk}.")
