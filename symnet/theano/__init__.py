"""Theano's module tree on symnet, for programs written for Theano: names only.

`from symnet import theano` takes the place of `import theano`; or, with the program left as it is,
`symnet.theano.install()` makes `import theano` mean this package. Where each name is defined stands in
`symnet.theano.names`; a name that is not there yet raises an error that says so.
"""

from __future__ import annotations

import sys
from typing import Any

from symnet.absent import module_getattr
from symnet.theano.finder import FINDER, install, resolve, submodules, uninstall
from symnet.theano.names import NAMES

__all__ = ["install", "uninstall", *(each for each in NAMES[""] if each != "__version__"), *submodules("")]
__version__ = NAMES[""]["__version__"]

if FINDER not in sys.meta_path:
    sys.meta_path.insert(0, FINDER)

_otherwise = module_getattr(__name__, submodules(""))


def __getattr__(name: str) -> Any:
    if name not in NAMES[""]:
        return _otherwise(name)
    value = globals()[name] = resolve(NAMES[""][name])
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES[""], *submodules("")})
