"""The examples in docstrings, and the ones in the README, run and give what they show."""

import doctest
import importlib
import pathlib
import runpy

import pytest

import symnet

PACKAGE = pathlib.Path(symnet.__file__).parent
MODULES = sorted(
    ".".join(("symnet", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_there_are_examples():
    assert "symnet" in MODULES and len(MODULES) > 10


def readme_block(first_line):
    text = (PACKAGE.parent / "README.md").read_text()
    blocks = text.split("```python\n")[1:]
    return next(block.split("```")[0] for block in blocks if block.startswith(first_line))


def test_the_ten_lines_of_the_readme(capsys):
    names = {}
    exec(readme_block("import numpy as np\nimport symnet\n"), names)
    assert names["w"].get_value() == pytest.approx([1, 2, 3], abs=1e-6)
    assert capsys.readouterr().out.strip()


def test_looking_inside_as_the_readme_does(tmp_path, capsys):
    script = tmp_path / "ten_lines.py"
    blocks = ["import numpy as np\nimport symnet\n", "symnet.dprint(cost)"]
    script.write_text("".join(map(readme_block, blocks)))
    names = runpy.run_path(str(script))
    told = capsys.readouterr().out
    assert "w <- w - " in told and "rewriting: " in told and "in kernel " in told
    kinds = [about["kind"] for _, about in names["graph"].nodes(data=True)]
    assert kinds.count("kernel") == len(names["step"].kernels) and names["text"].startswith("digraph")


def test_looking_further_as_the_readme_does(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for first_line in ("import numpy as np\nimport symnet\n", "profile = step.profile"):
        exec(readme_block(first_line), names)
    assert "outside the kernels" in capsys.readouterr().out
    assert (tmp_path / "step.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "step.json").read_text().startswith('{"traceEvents"')
