"""Error messages as a user meets them: each script in golden/scripts ends in one, kept beside it.

`python tests/test_error_texts.py` writes the texts anew; read the difference before you keep it.
"""

import builtins
import os
import pathlib
import runpy
import warnings

import pytest

import symnet

FOLDER = pathlib.Path(__file__).parent / "golden"
SCRIPTS = sorted((FOLDER / "scripts").glob("*.py"))


def builtin_of(error):
    """The built-in exception that a program would catch this error by."""
    return next(
        kind for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind
    ).__name__


def message_of(script):
    """The class and text of the error that ends a script."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runpy.run_path(str(script))
    except Exception as error:
        text = str(error).replace(str(script), script.name).replace(os.getcwd(), "<working folder>")
        return f"{type(error).__name__}, caught as {builtin_of(error)}\n\n{text}\n"
    raise AssertionError(f"{script.name} runs without an error")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_message_of(script, mode):
    assert message_of(script) == (FOLDER / f"{script.stem}.txt").read_text()


def test_every_message_points_at_the_script():
    for script in SCRIPTS:
        text = (FOLDER / f"{script.stem}.txt").read_text()
        assert f'File "{script.name}", line ' in text, script.name


def test_there_is_a_text_for_each_script_and_no_other():
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in SCRIPTS}


if __name__ == "__main__":
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for path in SCRIPTS:
        with symnet.config.override(mode="reference"):
            (FOLDER / f"{path.stem}.txt").write_text(message_of(path))
