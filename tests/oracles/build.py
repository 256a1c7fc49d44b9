"""Build the environments of the libraries that our methods have to agree with, one for each.

    python tests/oracles/build.py                               # all of them
    python tests/oracles/build.py transformer_lens captum       # some

Run it with the Python that runs the tests: the environments borrow its packages (torch, transformers) and hold only
what each library brings along, so that a build takes seconds and both read a model with the same torch. They go to
``.oracles/`` beside the sources, or to the folder that INTERPWIDGETS_ORACLES names. Building one again starts anew.
"""

import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
ORACLES = {
    "transformer_lens": ["transformer-lens==4.3.0"],
    "nnsight": ["nnsight==0.8.1"],
    "pyvene": ["pyvene==0.1.8"],
    "captum": ["captum==0.9.0"],
    "tuned_lens": ["tuned-lens==0.2.0"],
    # Its rules need torch alone; what it asks for besides (torchvision, open_clip) breaks transformers beside a torch
    # that is built without CUDA.
    "lxt": ["--no-deps", "lxt==2.1"],
}


def folder() -> Path:
    """Where the environments are."""
    return Path(os.environ.get("INTERPWIDGETS_ORACLES", ROOT / ".oracles")).expanduser().resolve()


def python(name: str) -> Path:
    """The interpreter of the environment of ``name``, whether or not it has been built."""
    return folder() / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def build(name: str) -> None:
    """Make the environment of ``name``. Raises `CalledProcessError` where pip cannot, and leaves none behind then."""
    venv.EnvBuilder(clear=True).create(folder() / name)
    try:
        borrow(python(name))
        pip = [sys.executable, "-m", "pip", "--python", str(python(name)), "install", "--quiet"]
        subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *ORACLES[name]], check=True)
    except BaseException:
        python(name).unlink()  # tests ask for it
        raise


def borrow(interpreter: Path) -> None:
    """Make the packages of this Python visible to ``interpreter``, behind its own."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    out = subprocess.run([str(interpreter), "-c", where], check=True, capture_output=True, text=True)
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(out.stdout.strip()) / "borrowed.pth").write_text("\n".join(sorted(ours)) + "\n")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ORACLES]
    if unknown:
        print(f"there is no oracle {unknown[0]!r}; there are {', '.join(ORACLES)}.", file=sys.stderr)
        return 2
    failed = []
    for name in names or list(ORACLES):
        start = time.perf_counter()
        try:
            build(name)
        except subprocess.CalledProcessError:
            failed.append(name)
            print(f"{name:<18} could not be built")
            continue
        size = sum(file.stat().st_size for file in (folder() / name).rglob("*") if file.is_file()) / 1e6
        print(f"{name:<18} {time.perf_counter() - start:4.0f} s {size:6.0f} MB   {folder() / name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
