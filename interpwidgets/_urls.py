"""Where the project lives: the one place that names its addresses.

    from interpwidgets._urls import REPOSITORY, colab

    colab("chapters/00_start_here.ipynb")    # that chapter on Colab, at this release's tag

Links point to the tag of this release, so that a notebook and the package it needs never drift apart.
"""

from urllib.parse import quote

from interpwidgets._version import __version__

REPOSITORY = "https://github.com/interpwidgets/interpwidgets"
TAG = f"v{__version__}"
ISSUES = f"{REPOSITORY}/issues"
WHEEL = f"{REPOSITORY}/releases/download/{TAG}/interpwidgets-{__version__}-py3-none-any.whl"

_SLUG = REPOSITORY.removeprefix("https://github.com/")


def colab(path: str) -> str:
    """The address that opens a notebook of this release (``path`` inside the repository) on Google Colab."""
    return f"https://colab.research.google.com/github/{_SLUG}/blob/{TAG}/{quote(path)}"


def binder(path: str) -> str:
    """The address that opens a notebook of this release (``path`` inside the repository) on Binder."""
    return f"https://mybinder.org/v2/gh/{_SLUG}/{TAG}?labpath={quote(path, safe='')}"
