"""Texts as a user reads them: each script in scripts/ makes one, kept in golden/.

`python tests/inspect/test_inspect_golden.py` writes the texts anew; read the difference before you keep it.
"""

import os
import pathlib
import runpy

import pytest

FOLDER = pathlib.Path(__file__).parent
SCRIPTS = sorted((FOLDER / "scripts").glob("*.py"))


def text_of(script):
    """What a script shows."""
    shown = runpy.run_path(str(script))["shown"]
    return shown.replace(str(script), script.name).replace(os.getcwd(), "<working folder>")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_text_of(script):
    assert text_of(script) == (FOLDER / "golden" / f"{script.stem}.txt").read_text(encoding="utf-8")


def test_there_is_a_text_for_each_script_and_no_other():
    assert {path.stem for path in (FOLDER / "golden").glob("*.txt")} == {path.stem for path in SCRIPTS}
    assert len(SCRIPTS) > 8


if __name__ == "__main__":
    for path in (FOLDER / "golden").glob("*.txt"):
        path.unlink()
    for path in SCRIPTS:
        (FOLDER / "golden" / f"{path.stem}.txt").write_text(text_of(path), encoding="utf-8")
