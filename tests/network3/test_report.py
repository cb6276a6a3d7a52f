"""Takes a training's progress, on a terminal and in a pipe, and shows what a person then reads."""

import io

import pytest

from symnet.network3 import report
from symnet.network3.report import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Stands for the time module: a second passes whenever the test says so."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(report, "time", clock)
    return clock


def run(progress, clock, epochs, batches, seconds):
    for epoch in range(epochs):
        for batch in range(batches):
            clock.now += seconds
            progress.advance(epoch, batch, cost=1.0 / (batch + 1))


def test_a_pipe_gets_a_plain_line_for_each_epoch(clock):
    stream = io.StringIO()
    run(Progress(3, 100, 10, stream), clock, 3, 100, 0.01)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "epoch 1 of 3, mini-batch 100 of 100: cost 0.0519, 1,000 images/s, 2 s left",
        "epoch 2 of 3, mini-batch 100 of 100: cost 0.0519, 1,000 images/s, 1 s left",
        "epoch 3 of 3, mini-batch 100 of 100: cost 0.0519, 1,000 images/s, 0 s left",
    ]


def test_a_pipe_hears_of_a_long_epoch_now_and_then(clock):
    stream = io.StringIO()
    run(Progress(1, 100, 10, stream), clock, 1, 100, 1.0)
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == [
        "epoch 1 of 1, mini-batch 30 of 100",
        "epoch 1 of 1, mini-batch 60 of 100",
        "epoch 1 of 1, mini-batch 90 of 100",
        "epoch 1 of 1, mini-batch 100 of 100",
    ]


def test_a_terminal_gets_one_line_written_over(clock):
    stream = Terminal()
    progress = Progress(2, 10, 5, stream)
    progress.note("building")
    run(progress, clock, 1, 10, 0.16)
    shown = stream.getvalue()
    assert "\n" not in shown
    first, *later = shown.split("\r\x1b[K")[1:]
    assert first == "building" and len(later) == 5
    assert later[-1].startswith("epoch 1 of 2, mini-batch 10 of 10: cost 0.2929, 31 images/s, 2 s")


def test_a_line_is_said_clear_of_the_display(clock, capsys):
    stream = Terminal()
    progress = Progress(1, 10, 5, stream)
    progress.note("building")
    progress.say("Epoch 0: validation accuracy 90.00%")
    assert stream.getvalue().endswith("building\r\x1b[K")
    assert capsys.readouterr().out == "Epoch 0: validation accuracy 90.00%\n"
    progress.close()
    assert stream.getvalue().endswith("building\r\x1b[K")


def test_a_pipe_hears_nothing_of_notes():
    stream = io.StringIO()
    progress = Progress(1, 1, 1, stream)
    progress.note("building")
    progress.close()
    assert stream.getvalue() == ""


def test_the_first_mini_batch_promises_no_speed(clock):
    stream = Terminal()
    progress = Progress(1, 10, 5, stream)
    clock.now = 9.0
    progress.advance(0, 0, 2.5)
    assert stream.getvalue().endswith("epoch 1 of 1, mini-batch 1 of 10: cost 2.5000")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (125, "2:05 min"), (3725, "1:02:05 h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
