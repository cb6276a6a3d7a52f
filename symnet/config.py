"""The settings: a handful, each with its allowed values, read from the environment and settable.

`config.floatX = "float32"` sets one; `with config.override(floatX="float32"):` sets it for a block of
one thread. Theano's `THEANO_FLAGS` is read too, so programs started with it keep their meaning.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from symnet.errors import ArgumentError

_ALLOWED: dict[str, Sequence[Any]] = {
    "floatX": ("float32", "float64"),
    "mode": ("default", "reference"),
    "backend": ("llvm", "numba"),
    "device": ("cpu", "cuda", "auto"),
    "on_unused_input": ("raise", "warn", "ignore"),
    "cache": (True, False),
    "fastmath": (False, True),
    "debug": (0, 1, 2, 3, 4),
    "threads": range(1, 257),
    "test_values": (False, True, "warn", "raise"),
}


def usable_threads() -> int:
    """How many threads the system lets this process run at once."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _ALLOWED["threads"][-1])


_DEFAULTS: dict[str, Any] = {
    "floatX": "float64",
    "mode": "default",
    "backend": "llvm",
    "device": "cpu",
    "on_unused_input": "raise",
    "cache": True,
    "fastmath": False,
    "debug": 0,
    "threads": usable_threads(),
    "test_values": False,
}
#: Settings of the whole process, which its threads share.
_SHARED = ("threads", "test_values")
#: What Theano calls the modes.
MODE_NAMES = {
    "FAST_RUN": "default",
    "FAST_COMPILE": "default",
    "Mode": "default",
    "DebugMode": "reference",
    "DEBUG_MODE": "reference",
}
#: What Theano calls the GPU.
DEVICE_NAMES = {"gpu": "cuda", "gpu0": "cuda", "cuda0": "cuda"}
_OTHER_NAMES = {"mode": MODE_NAMES, "device": DEVICE_NAMES}
#: Theano's name of a GPU by its number.
_NUMBERED = re.compile(r"(?:gpu|cuda)(\d*)")


def _parse(name: str, text: str) -> Any:
    text = _OTHER_NAMES.get(name, {}).get(text, text)
    for value in _ALLOWED[name]:
        if str(value).lower() == text.lower() or (isinstance(value, bool) and text == str(int(value))):
            return value
    raise ValueError(f"{name}={text!r} is not one of {_choices(name, str)}{_advice(name, text)}")


def _advice(name: str, value: Any) -> str:
    """What a GPU's number is to be replaced by."""
    numbered = _NUMBERED.fullmatch(value) if name == "device" and isinstance(value, str) else None
    if numbered is None:
        return ""
    variable = f"CUDA_VISIBLE_DEVICES={numbered[1]}"
    return f' ("cuda" is the first GPU shown; {variable} in the environment shows this one)'


def _choices(name: str, show: Callable[[Any], str] = repr) -> str:
    allowed = _ALLOWED[name]
    if isinstance(allowed, range):
        return f"{allowed[0]} to {allowed[-1]}"
    return ", ".join(map(show, allowed))


def _from_environment() -> dict[str, Any]:
    values = dict(_DEFAULTS)
    parts = (flag.strip().partition("=") for flag in os.environ.get("THEANO_FLAGS", "").split(","))
    flags = {name: text for name, _, text in parts}
    # Theano's flags number about 140; those that have no meaning here are passed over.
    for name in ("floatX", "on_unused_input"):
        if name in flags:
            values[name] = _parse(name, flags[name])
    force = flags.get("force_device", "").lower() in ("true", "1")
    values["device"] = device_of_theano(flags.get("device", "cpu"), force) or "cpu"
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        values["threads"] = min(max(1, int(os.environ["OMP_NUM_THREADS"])), _ALLOWED["threads"][-1])
    for name in _DEFAULTS:
        text = os.environ.get(f"SYMNET_{name.upper()}", "")
        if text:
            values[name] = _parse(name, text)
    return values


def device_of_theano(name: str, force: bool) -> str | None:
    """What a value of Theano's flag `device` means here; None for one that is no CPU and no NVIDIA GPU.

    As in Theano a program that asks for a GPU which is not there runs on the CPU, and a line says so, unless
    the flag `force_device` is set: "auto", or "cuda".
    """
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None:
        return name if name in _ALLOWED["device"] else None
    if numbered[1] not in ("", "0"):
        warnings.warn(
            f"device={name}: symnet runs on the first GPU that it is shown; to show it this one, set "
            f"CUDA_VISIBLE_DEVICES={numbered[1]} in the environment",
            stacklevel=2,
        )
    return "cuda" if force else "auto"


class Config:
    """symnet's settings, as attributes.

    floatX
        "float32" or "float64" (Theano's default): what `T.matrix()` and a Python float's division of
        integers become.
    mode
        "default" compiles; "reference" runs every op by NumPy.
    backend
        "llvm" prints loop nests as LLVM IR, and reads kernels for a GPU as that; "numba" has Numba compile
        their source, which means the same and takes longer.
    device
        Where functions made from now on run: "cpu"; "cuda" (or "gpu", "cuda0", "gpu0"), the first GPU of
        NVIDIA's, an error where there is none; "auto", that GPU where it can be used and else the CPU, which
        one line on standard error tells. Of Theano's flags `device=cuda` and the like mean "auto", with
        `force_device=True` "cuda".
    on_unused_input
        "raise", "warn" or "ignore".
    cache
        Whether compiled code is kept on disk.
    fastmath
        Whether functions compiled from now on may reorder sums and take it that nothing is NaN or infinite.
        On a GPU nothing makes use of that.
    debug
        0 to 4: pass times, kernels, source, every rewrite.
    threads
        How many threads may run a kernel together: 1 to 256, by default as many as the process may use
        (or `OMP_NUM_THREADS`). Results do not depend on it. It holds for all threads of the process.
    test_values
        Whether expressions are computed as they are written, from the `tag.test_value` of variables, the
        values of shared variables and constants, so that a mistake shows on its line. Where a variable has
        no test value nothing is computed; "warn" and "raise" say so. It holds for all threads.
    """

    def __init__(self) -> None:
        object.__setattr__(self, "_values", _from_environment())
        object.__setattr__(self, "_overrides", ContextVar("symnet_config", default=None))
        object.__setattr__(self, "_listeners", {})
        #: For compiled callers: 1 while floatX is float32 in all of the process, 0 for good from the first
        #: block on that overrides floatX, as then it depends on who asks.
        object.__setattr__(self, "float32_everywhere", array("q", [self.floatX == "float32"]))
        object.__setattr__(self, "_floatX_overridden", False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        overrides = object.__getattribute__(self, "_overrides").get() or {}
        if name in overrides:
            return overrides[name]
        values = object.__getattribute__(self, "_values")
        if name in values:
            return values[name]
        raise AttributeError(f"symnet.config has no setting {name!r}; it has {', '.join(sorted(values))}")

    def __setattr__(self, name: str, value: Any) -> None:
        values = object.__getattribute__(self, "_values")
        if name not in values:
            raise AttributeError(
                f"symnet.config has no setting {name!r}; it has {', '.join(sorted(values))} "
                "(symnet.theano.config takes Theano's other flags)"
            )
        values[name] = self.checked(name, value)
        if name == "floatX":
            self.float32_everywhere[0] = value == "float32" and not self._floatX_overridden
        for listener in self._listeners.get(name, ()):
            listener(values[name])

    def on_change(self, name: str, listener: Callable[[Any], None]) -> None:
        """Have `listener` told each new value of a setting that the whole process shares."""
        assert name in _SHARED
        self._listeners.setdefault(name, []).append(listener)

    @staticmethod
    def checked(name: str, value: Any) -> Any:
        """A setting's value as it is kept.

        Raises
        ------
        ArgumentError
            For one that has no meaning.
        """
        if isinstance(value, str):
            value = _OTHER_NAMES.get(name, {}).get(value, value)
        allowed = _ALLOWED[name]
        if value not in allowed or (isinstance(allowed, range) and isinstance(value, bool)):
            raise ArgumentError(
                f"config.{name} = {value!r}: expected one of {_choices(name)}{_advice(name, value)}"
            )
        return value

    @contextlib.contextmanager
    def override(self, **settings: Any) -> Iterator[None]:
        """Settings for the duration of a block, in this thread (or task) alone; `threads` and `test_values`
        in all.

        >>> import symnet
        >>> with symnet.config.override(floatX="float32"):
        ...     symnet.tensor.matrix("x").dtype
        'float32'
        """
        values = object.__getattribute__(self, "_values")
        for name in settings:
            if name not in values:
                raise AttributeError(f"symnet.config has no setting {name!r}")
        checked = {name: self.checked(name, value) for name, value in settings.items()}
        before = {name: values[name] for name in checked if name in _SHARED}
        variable = object.__getattribute__(self, "_overrides")
        own = {name: value for name, value in checked.items() if name not in _SHARED}
        if "floatX" in own:
            object.__setattr__(self, "_floatX_overridden", True)
            self.float32_everywhere[0] = 0
        token = variable.set({**(variable.get() or {}), **own})
        try:
            for name in before:
                setattr(self, name, checked[name])
            yield
        finally:
            variable.reset(token)
            for name, value in before.items():
                setattr(self, name, value)

    def __repr__(self) -> str:
        values = object.__getattribute__(self, "_values")
        return "\n".join(f"{name} = {getattr(self, name)!r}" for name in sorted(values))


config = Config()
