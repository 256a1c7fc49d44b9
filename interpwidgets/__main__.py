"""``python -m interpwidgets`` is the same as ``interpwidgets``."""

from interpwidgets.cli import main

if __name__ == "__main__":
    main(prog_name="interpwidgets")
