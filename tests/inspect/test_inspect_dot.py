"""DOT: what graphviz makes of it where it is installed, and what stands in it in any case."""

import json
import re
import shutil

import numpy as np
import pytest
from looked_at import made

import symnet
import symnet.tensor as T
from symnet.errors import MissingProgramError
from symnet.inspect import pydotprint, to_dot
from symnet.inspect.dot import drawn

ODD = [
    'a "b"',
    "[x] {y} <z>",
    "two\nlines",
    "ünïcode → ✓",
    "back\\slash",
    "tab\tbell\a",
    "\\n",
    '\\"',
    "a|b&amp;",
]
NEEDS_GRAPHVIZ = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


def odd_graph():
    total = 0
    for name in ODD:
        each = T.dscalar(name)
        total = total + each
    total.name = 'sum of "all"\n'
    return total


def labels(text):
    """The labels as graphviz reads them: escapes undone."""
    found = re.findall(r'\[label="((?:[^"\\]|\\.)*)"', text)
    return [re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], each) for each in found]


def test_odd_names_survive():
    found = labels(to_dot(odd_graph()))
    for name in ODD:
        kept = "".join(c if c.isprintable() or c == "\n" else " " for c in name)
        assert f"{kept}\nfloat64 ()" in found, name


def test_every_line_is_a_statement():
    # A quote or newline that got out would make a line of another form.
    for line in to_dot(odd_graph()).splitlines()[2:-1]:
        assert re.fullmatch(
            r'  n\d+ (\[(\w+=("([^"\\]|\\.)*"|\w+)(, )?)+\]|-> n\d+( \[label="\d+", fontsize=9\])?);', line
        )


@NEEDS_GRAPHVIZ
def test_graphviz_reads_odd_names():
    found = json.loads(drawn(to_dot(odd_graph()), "json0"))
    inputs = [each for each in found["objects"] if each["shape"] == "ellipse"]
    assert len(inputs) == len(ODD) + 1 and len(found["edges"]) == 2 * len(ODD) + 1


@NEEDS_GRAPHVIZ
@pytest.mark.parametrize("stage", ["user", "rewritten", "program"])
def test_graphviz_reads_all_stages(stage):
    for name, function, arguments in made():
        function(*arguments)
        graph = symnet.inspect.diagram(function, stage)
        found = json.loads(drawn(to_dot(function, stage), "json0"))
        nodes = [each for each in found.get("objects", []) if not each["name"].startswith("cluster")]
        assert len(nodes) == len(graph.nodes), name
        assert len(found.get("edges", [])) == len(graph.edges), name


def test_kernels_are_frames():
    x = T.dvector("x")
    f = symnet.function([x], T.sum(T.exp(x) * 2), name="f")
    assert "subgraph" not in to_dot(f)
    f(np.ones(3))
    text = to_dot(f)
    assert text.count("subgraph cluster_") == len(f.kernels)
    assert all(f'label="{kernel.name}"' in text for kernel in f.kernels)


def test_labels_are_cut():
    x = T.dscalar("x" * 500)
    assert max(len(each) for each in labels(to_dot(x, max_label_size=20, types=False))) == 20


def test_pydotprint_writes_text_without_graphviz(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    x = T.dscalar("x")
    y = x + 1
    pydotprint(y, tmp_path / "graph.dot", format="dot")
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == to_dot(y)
    with pytest.raises(MissingProgramError, match="apt install graphviz"):
        pydotprint(x + 1, tmp_path / "graph.png")
    assert not (tmp_path / "graph.png").exists() and capsys.readouterr().out == ""


@NEEDS_GRAPHVIZ
def test_pydotprint_draws(tmp_path):
    pydotprint(T.dscalar("x") + 1, outfile=str(tmp_path / "graph.png"))
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in pydotprint(T.dscalar("x") + 1, format="svg", return_image=True)
