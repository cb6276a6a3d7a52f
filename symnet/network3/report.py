"""Takes what a training has done so far and hands it on to whoever watches, as lines and a display.
The book's lines go to standard output. How far the training is goes to standard error: on a
terminal as one line that is written over, in a pipe or file as a plain line now and then.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL_SECONDS = 0.2
PLAIN_SECONDS = 30.0
_CLEAR = "\r\x1b[K"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 8 s, 2:05 min, 1:02:05 h."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


class Progress:
    """Epoch, cost, images per second and time left of a training that is under way.

    epochs, batches, batch_images
        How many epochs the training has, how many mini-batches each, and how many images each of
        those.
    stream
        Where the display goes; standard error unless given.

    The clock starts with the first `advance`, so that compiling does not count as training; time
    spent on validation does count, as it recurs.
    """

    def __init__(self, epochs: int, batches: int, batch_images: int, stream: TextIO | None = None) -> None:
        self.epochs, self.batches, self.batch_images = epochs, batches, batch_images
        self.stream = sys.stderr if stream is None else stream
        self.terminal = self.stream.isatty()
        self.interval = TERMINAL_SECONDS if self.terminal else PLAIN_SECONDS
        self.started: float | None = None
        self.shown_at = time.perf_counter()
        self.drawn = False
        self.epoch_cost = 0.0

    def note(self, text: str) -> None:
        """Show on a terminal what is being done, until something else is shown."""
        if self.terminal:
            self._draw(text)

    def say(self, line: str) -> None:
        """Print one line to standard output, clear of the display."""
        self._clear()
        print(line, flush=True)

    def advance(self, epoch: int, batch: int, cost: float) -> None:
        """Record that mini-batch `batch` of `epoch`, both counted from 0, is done, at `cost`."""
        now = time.perf_counter()
        if self.started is None:
            self.started = now
        self.epoch_cost = cost if batch == 0 else self.epoch_cost + cost
        done = batch + 1
        if now - self.shown_at < self.interval and (self.terminal or done < self.batches):
            return
        self.shown_at = now
        self._draw(self._line(epoch, done, now - self.started))

    def close(self) -> None:
        """Leave the terminal clean."""
        self._clear()

    def _line(self, epoch: int, done: int, seconds: float) -> str:
        # The first mini-batch started the clock, so it is not among those that the clock timed.
        timed = epoch * self.batches + done - 1
        text = (
            f"epoch {epoch + 1} of {self.epochs}, mini-batch {done:,} of {self.batches:,}: "
            f"cost {self.epoch_cost / done:.4f}"
        )
        if timed == 0 or seconds <= 0:
            return text
        left = (self.epochs * self.batches - timed - 1) * seconds / timed
        rate = timed * self.batch_images / seconds
        return f"{text}, {rate:,.0f} images/s, {duration(left)} left"

    def _draw(self, text: str) -> None:
        if self.terminal:
            self.stream.write(_CLEAR + text)
            self.drawn = True
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def _clear(self) -> None:
        if self.drawn:
            self.stream.write(_CLEAR)
            self.stream.flush()
            self.drawn = False
