"""Tracebacks of errors that end a program: takes an error, hands it on without symnet's own frames.

An error of symnet's says what is wrong and on which of the user's lines; the way there through the
package, Numba or LLVM helps nobody but its authors, who set SYMNET_DEBUG and see all of it.
"""

from __future__ import annotations

import os
import sys
import types

from symnet.errors import SymnetError

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback without frames of the package; as it is where it has no others.

    What the package calls in turn (a library, a kernel's text) goes with it.
    """
    kept = []
    each = trace
    while each is not None:
        if each.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            # The user's own frames below the package are those of a callback: they stay.
            each = each.tb_next
            while each is not None and not _is_callback(each):
                each = each.tb_next
            continue
        kept.append(each)
        each = each.tb_next
    shown: types.TracebackType | None = None
    for each in reversed(kept):
        shown = types.TracebackType(shown, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return shown or trace


def _is_callback(trace: types.TracebackType) -> bool:
    """Whether a frame below the package is the user's: no library's, and no text that is compiled."""
    name = trace.tb_frame.f_code.co_filename
    inside = name.startswith((_PACKAGE, sys.prefix + os.sep, sys.base_prefix + os.sep, "<"))
    return not inside and "site-packages" not in name


def hide_insides(error: BaseException) -> None:
    """Take the package's frames out of an error of symnet's, and what it was raised from."""
    from symnet.config import config

    if isinstance(error, SymnetError) and not config.debug:
        error.__traceback__ = own_frames(error.__traceback__)
        error.__cause__, error.__suppress_context__ = None, True


def install() -> None:
    """Have errors that end the program shown so; what showed them before shows them still."""
    before = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        hide_insides(error)
        before(kind, error, error.__traceback__)

    sys.excepthook = show
