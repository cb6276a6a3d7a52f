"""The debug ladder: each level tells what the one below tells, and more."""

import numpy as np
import pytest

import symnet
import symnet.tensor as T


def told(level: int, capsys: pytest.CaptureFixture[str]) -> str:
    with symnet.config.override(debug=level):
        x = T.dvector("x")
        f = symnet.function([x], T.exp(x * 1) + 2, name="ladder")
        f(np.zeros(3))
    return capsys.readouterr().err


def test_level_0_tells_nothing(capsys):
    assert told(0, capsys) == ""


def test_level_1_tells_the_passes(capsys):
    text = told(1, capsys)
    assert "rewriting ladder" in text and "canonicalise" in text
    assert "compiled ladder" not in text


def test_level_2_tells_the_kernels(capsys):
    text = told(2, capsys)
    assert "canonicalise" in text and "compiled ladder: specialisations 1" in text
    assert "ladder_k_exp_add: " in text
    assert "def ladder_k_exp_add" not in text


def test_level_3_tells_the_source(capsys):
    assert "def ladder_k_exp_add(x, add, status):" in told(3, capsys)


def test_level_4_tells_each_rewrite(capsys):
    text = told(4, capsys)
    assert "mul" in text and "test_debug.py" in text
    assert len(text) > len(told(3, capsys))
