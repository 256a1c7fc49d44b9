"""What is measured of attention patterns, and how it is coded for the page."""

import numpy as np
import pytest

from interpwidgets.widgets import _patterns
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._patterns import Mixed, Patterns
from interpwidgets.widgets._scores import head_score, score_places


def attention(n_tokens, *, layers=2, heads=3, causal=True, seed=0):
    """Random patterns whose rows sum to one, [layer, head, query, key]."""
    raw = np.exp(4 * np.random.default_rng(seed).random((layers, heads, n_tokens, n_tokens)))
    if causal:
        raw *= np.tri(n_tokens)
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


def names(n_tokens, different=7):
    return [f"t{i % different}" for i in range(n_tokens)]


def blocks(pattern, block):
    """The cells of each block: plain Python, the definition."""
    n = -(-len(pattern) // block)
    return [[pattern[q * block : (q + 1) * block, k * block : (k + 1) * block] for k in range(n)] for q in range(n)]


def largest(cells):
    return max(cells.max(), cells.min(), key=abs)


def decoded(codes, *, signed, vmax):
    codes = codes.astype(float)
    if signed:
        steps = np.abs(codes - 128)
        return np.where(steps > 0, np.sign(codes - 128) * vmax * 10 ** (4 * ((steps - 1) / 126 - 1)), 0)
    return np.where(codes > 0, vmax * 10 ** (4 * ((codes - 1) / 254 - 1)), 0)


@pytest.mark.parametrize("n_tokens", [1, 2, 5, 64, 65, 130])
@pytest.mark.parametrize("kind", ["causal", "both ways", "differences"])
def test_a_thumbnail_shows_the_largest_value_of_each_block(n_tokens, kind):
    values = attention(n_tokens, causal=kind != "both ways")
    if kind == "differences":
        values = values - attention(n_tokens, seed=1)
    patterns = Patterns.of(names(n_tokens), values)
    block = -(-n_tokens // 64)
    assert patterns.block == block
    planes = np.concatenate([values, values.mean(1, keepdims=True)], axis=1)
    expected = np.array([[[[largest(c) for c in row] for row in blocks(p, block)] for p in layer] for layer in planes])
    np.testing.assert_allclose(patterns.pooled, expected, rtol=1e-5, atol=1e-8)
    found = decoded(patterns.thumbs, signed=patterns.signed, vmax=patterns.vmax)
    visible = np.abs(expected) > 2e-4 * patterns.vmax
    step = 10 ** (4 / (126 if patterns.signed else 254) / 2) - 1  # half a code
    np.testing.assert_allclose(found[visible], expected[visible], rtol=1.01 * step)
    assert np.abs(found[~visible]).max(initial=0) <= 3e-4 * patterns.vmax


def test_codes_cover_four_decades_and_nothing_below():
    values = np.zeros((1, 1, 6, 6), np.float32)
    values[0, 0, :, 0] = [1, 0.5, 0.01, 1.001e-4, 1e-5, 0]
    codes = Patterns.of(names(6), values).thumbs[0, 0, :, 0]
    assert codes.tolist() == [255, 236, 128, 1, 0, 0]
    signed = np.concatenate([values, -values], axis=1)
    codes = Patterns.of(names(6), signed).thumbs[0, :2, :, 0]
    assert codes.tolist() == [[255, 246, 192, 129, 128, 128], [1, 10, 64, 127, 128, 128]]


@pytest.mark.parametrize(
    ("scale", "vmax", "signed"),
    [(1, 1.0, False), (0.2, 1.0, False), (7, 7.0, False), (-1, 1.0, True), (-0.5, 0.5, True)],
)
def test_the_colour_scale_ends_at_one_for_probabilities_and_else_at_the_largest_value(scale, vmax, signed):
    patterns = Patterns.of(names(8), scale * attention(8))
    assert patterns.vmax == pytest.approx(vmax)
    assert patterns.signed is signed


@pytest.mark.parametrize("n_tokens", [1, 4, 64, 130])
def test_patterns_are_causal_only_if_nothing_at_all_lies_above_the_diagonal(n_tokens):
    values = attention(n_tokens)
    assert Patterns.of(names(n_tokens), values).causal
    for query, key in {(0, n_tokens - 1), (n_tokens // 2, n_tokens // 2 + 1), (0, 1)}:
        if query < key < n_tokens:
            seen = values.copy()
            seen[1, 2, query, key] = 1e-30
            assert not Patterns.of(names(n_tokens), seen).causal


@pytest.mark.parametrize(("n_tokens", "dtype"), [(1, "float32"), (7, "float32"), (361, "float32"), (362, "float16")])
@pytest.mark.parametrize("head", [1, None])
def test_a_tile_is_the_chosen_head(n_tokens, dtype, head):
    values = attention(n_tokens)
    tile = Patterns.of(names(n_tokens), values).tile(1, head)
    expected = values[1].mean(0) if head is None else values[1, head]
    assert (tile["packed"], tile["block"], tile["n"], tile["where"]) == (True, 1, n_tokens, None)
    assert tile["values"].dtype == dtype
    np.testing.assert_allclose(tile["values"], expected[np.tri(n_tokens, dtype=bool)], rtol=1e-3, atol=1e-7)


def test_a_tile_that_is_not_causal_is_not_packed():
    values = attention(9, causal=False)
    tile = Patterns.of(names(9), values).tile(0, 2)
    assert not tile["packed"]
    np.testing.assert_array_equal(tile["values"], values[0, 2])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_above_512_tokens_a_tile_says_where_in_its_block_the_largest_value_is(causal, signed):
    values = attention(1030, layers=1, heads=1, causal=causal)
    if signed:
        values = values - attention(1030, layers=1, heads=1, causal=causal, seed=1)
    tile = Patterns.of(names(1030), values).tile(0, 0)
    assert (tile["block"], tile["n"]) == (3, 344)
    cells = np.argwhere(np.tri(344)) if causal else np.argwhere(np.ones((344, 344)))
    assert len(tile["values"].ravel()) == len(cells)
    for i in [0, 1, 2, len(cells) // 2, len(cells) - 2, len(cells) - 1]:
        query, key = 3 * cells[i] + np.array(divmod(int(tile["where"].ravel()[i]), 3))
        value = values[0, 0, query, key]
        assert abs(value) == abs(largest(blocks(values[0, 0], 3)[cells[i][0]][cells[i][1]]))
        assert tile["values"].ravel()[i] == pytest.approx(value, rel=1e-3)


def test_numbers_that_float16_cannot_hold_stay_float32():
    tile = Patterns.of(names(400), attention(400, layers=1, heads=1) * 1e6).tile(0, 0)
    assert tile["values"].dtype == np.float32
    assert np.isfinite(tile["values"]).all()


@pytest.mark.parametrize(
    ("bad", "said"), [(np.nan, "NaN"), (-np.inf, "−inf"), (np.inf, "inf"), (1e300, "numbers that float32 can hold")]
)
@pytest.mark.parametrize("n_tokens", [4, 130])
def test_the_first_number_that_is_not_finite_is_named(bad, said, n_tokens):
    values = attention(n_tokens).astype(np.float64)
    values[1, 2, 3, 1] = values[1, 2, n_tokens - 1, 2] = bad
    with pytest.raises(InputError) as caught:
        Patterns.of(names(n_tokens), values)
    assert "[1, 2, 3, 1]" in str(caught.value)
    assert said in str(caught.value)


def test_rows_are_measured_with_the_tolerance_of_their_precision():
    values = attention(8)
    values[1, 2, 5] *= 0.99
    assert Patterns.of(names(8), values).uneven() == [(1, 2)]
    assert Patterns.of(names(8), values.astype(np.float16)).uneven() == []
    values[0, 1, 5] *= 0.5
    assert Patterns.of(names(8), values.astype(np.float16)).uneven() == [(0, 1)]
    assert Patterns.of(names(8), attention(8)).uneven() == []


# -- what is computed when it is looked at -------------------------------------------------------------------------


class Later:
    """A layer that hands out rows of an array, and counts how many cells it ever gave at once."""

    most = 0

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def rows(self, rows, head=None):
        found = self.array[:, rows] if head is None else self.array[head : head + 1, rows]
        Later.most = max(Later.most, found.size)
        return found.copy()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("n_tokens", [5, 130, 700])
def test_patterns_computed_band_by_band_are_measured_as_if_they_were_arrays(n_tokens, causal, monkeypatch):
    values = attention(n_tokens, causal=causal)
    expected = Patterns.of(names(n_tokens), values)
    monkeypatch.setattr(_patterns, "BAND_CELLS", 20_000)
    Later.most = 0
    found = Patterns(names(n_tokens), [Later(layer) for layer in values], causal=causal).finish()
    block = -(-n_tokens // 64)
    assert Later.most <= max(20_000, 3 * block * n_tokens)
    np.testing.assert_allclose(found.pooled, expected.pooled, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.row_sums, expected.row_sums, rtol=1e-6)
    assert (found.causal, found.signed, found.vmax) == (expected.causal, expected.signed, expected.vmax)
    for name, score in expected.scores.items():
        np.testing.assert_allclose(found.scores[name], score, rtol=1e-5, atol=1e-6, err_msg=name)
    for head in (1, None):
        np.testing.assert_allclose(found.head(1, head), expected.head(1, head), rtol=1e-6)
        np.testing.assert_allclose(found.row(1, head, n_tokens - 2), expected.row(1, head, n_tokens - 2), rtol=1e-6)
        tile, as_expected = found.tile(1, head), expected.tile(1, head)
        np.testing.assert_array_equal(tile["values"], as_expected["values"])
        np.testing.assert_array_equal(tile["where"], as_expected["where"])


def test_thumbnails_come_layer_by_layer():
    values = attention(30, layers=3)
    patterns = Patterns(names(30), [Later(layer) for layer in values])
    assert not patterns.thumbs.any()
    done = []
    for _ in patterns.measuring:
        done.append(patterns.measured)
        assert patterns.thumbs[: patterns.measured].any((1, 2, 3)).all()
        assert not patterns.thumbs[patterns.measured :].any()
    assert done == [1, 2, 3]
    assert patterns.complete


def test_a_band_that_is_not_finite_names_its_query(monkeypatch):
    monkeypatch.setattr(_patterns, "BAND_CELLS", 1_000)
    values = attention(40)
    values[1, 2, 33, 5] = np.nan
    with pytest.raises(InputError, match=r"\[1, 2, 33, 5\]"):
        Patterns.of(names(40), values)


@pytest.mark.parametrize("zoom", [(0, 0, 10), (600, 3, 500), (123, 700, 77)])
def test_a_window_is_a_part_of_a_head_in_finer_blocks(zoom):
    values = attention(1200, layers=1, heads=1)
    top, left, size = zoom
    window = Patterns.of(names(1200), values).window(0, 0, zoom)
    part = values[0, 0, top : top + size, left : left + size]
    block = 1 if size <= 448 else 2
    assert (window["block"], window["packed"], window["zoom"]) == (block, False, list(zoom))
    expected = np.array([[largest(cells) for cells in row] for row in blocks(part, block)])
    np.testing.assert_allclose(window["values"], expected, rtol=1e-3, atol=1e-7)


def test_a_mix_is_the_weighted_sum_of_its_layers():
    a, b = attention(6), attention(6, seed=1)
    mixed = Mixed([a[0], Later(b[0])], [1, -1])
    np.testing.assert_allclose(mixed.rows(slice(2, 5)), (a - b)[0, :, 2:5], atol=1e-7)
    np.testing.assert_allclose(mixed.rows(slice(0, 6), 1), (a - b)[0, 1:2], atol=1e-7)


# -- scores -------------------------------------------------------------------------------------------------------


def scores_by_definition(tokens, pattern):
    """The table in `_scores`, word for word."""
    n = len(tokens)
    earlier = {q: [k for k in range(q) if tokens[k] == tokens[q]] for q in range(n)}
    keys = {
        "induction": {q: [k + 1 for k in earlier[q]] for q in range(n) if earlier[q]},
        "previous token": {q: [q - 1] for q in range(1, n)},
        "duplicate token": {q: earlier[q] for q in range(n) if earlier[q]},
        "first token": {q: [0] for q in range(1, n)},
        "same token": {q: [q] for q in range(n)},
    }
    return {
        name: np.mean([pattern[q, ks].sum() for q, ks in places.items()]) if places else 0.0
        for name, places in keys.items()
    }


@pytest.mark.parametrize(
    "tokens",
    [["a"], list("ab"), list("aa"), list("abab"), list("abcabcabd"), ["a"] * 40, names(70), names(70, 70)],
    ids=lambda tokens: f"{len(tokens)} tokens, {len(set(tokens))} different",
)
@pytest.mark.parametrize("causal", [True, False])
def test_scores_are_what_their_table_says(tokens, causal):
    values = attention(len(tokens), causal=causal)
    found = Patterns.of(tokens, values).scores
    for layer, head in np.ndindex(2, 3):
        expected = scores_by_definition(tokens, values[layer, head])
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert found[name][layer, head] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("name", ["induction", "previous token", "duplicate token", "first token", "same token"])
def test_a_head_that_does_one_thing_only_scores_one(name):
    tokens = list("abcdabcd")
    pattern = np.zeros((8, 8), np.float32)
    for query in range(8):
        targets = {"induction": query - 3, "previous token": query - 1, "duplicate token": query - 4, "first token": 0}
        pattern[query, max(targets.get(name, query), 0)] = 1
    assert head_score(pattern, score_places(tokens)[name]) == 1
