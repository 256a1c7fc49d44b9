"""The chosen layer handed to CircuitsVis: without network, and with tokens that stay text."""

import json
import re
import sys
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from interpwidgets import AttentionHeads

TOKENS = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "<!--<script>", " a", "\n", "", "&lt;"]
PATTERNS = np.tile(np.tri(7) / np.arange(1, 8)[:, None], (2, 3, 1, 1))


class Elements(HTMLParser):
    """The elements that a browser would make, and what the scripts say."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.script = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.script += data


@pytest.fixture(scope="module")
def html():
    pytest.importorskip("circuitsvis")
    return AttentionHeads(TOKENS, PATTERNS, layer=1, head=0).to_circuitsvis()._repr_html_()


def props(html):
    (found,) = re.findall(r"CircuitsVis\.AttentionPatterns,\s*(\{.*\})\s*\)", html)
    return json.loads(found)


def test_no_token_breaks_out_of_the_page(html):
    page = Elements(html)
    assert page.tags == ["div", "script"]
    assert "alert(1)" in page.script
    # CircuitsVis sets each token as HTML: there must be no element in any of them
    assert all(Elements(token).tags == [] for token in props(html)["tokens"])


def test_tokens_read_as_they_are_with_white_space_made_visible(html):
    seen = [unescape(token) for token in props(html)["tokens"]]
    assert seen == [TOKENS[0].replace(" ", "␣"), *TOKENS[1:3], "␣a", "⏎", "∅", "&lt;"]


def test_it_holds_the_heads_of_the_layer_and_asks_no_host(html):
    np.testing.assert_allclose(props(html)["attention"], PATTERNS[1], atol=1e-5)
    own = html[html.index("CircuitsVis.render(\n") :]
    assert "http" not in own
    assert "unpkg" not in html


def test_without_circuitsvis_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "circuitsvis.attention", None)
    with pytest.raises(ImportError, match="pip install circuitsvis"):
        AttentionHeads(TOKENS, PATTERNS).to_circuitsvis()
