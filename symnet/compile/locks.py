"""Locks that survive a fork: takes a rank, hands on a lock that no child process inherits as taken.

A fork copies a lock as it is at that moment, and in the child nobody will ever release what another
thread held. So a fork waits until it holds all these locks itself, in the order in which every thread
takes them (by rank, then by age), and releases them in the parent and in the child.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref

#: Ranks, in the order in which one thread may take them.
CONTAINER, FUNCTION, POOL, CODE_GENERATOR, LIBRARY = range(5)

_ages = itertools.count()
#: Held while the books below change, and during a fork.
_books = threading.Lock()
_places: weakref.WeakKeyDictionary[threading.RLock, tuple[int, int]] = weakref.WeakKeyDictionary()
_held: list[threading.RLock] = []


def new_lock(rank: int) -> threading.RLock:
    """A reentrant lock; a thread that holds it takes only locks of a higher rank, or younger ones."""
    lock = threading.RLock()
    keep_over_forks(lock, rank)
    return lock


def keep_over_forks(lock: threading.RLock, rank: int) -> None:
    """Count a reentrant lock that is somebody else's among those that a fork takes."""
    with _books:
        _places[lock] = rank, next(_ages)


def _take_all() -> None:
    _books.acquire()
    for lock, _ in sorted(_places.items(), key=lambda item: item[1]):
        lock.acquire()
        _held.append(lock)


def _release_all() -> None:
    while _held:
        _held.pop().release()
    _books.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take_all, after_in_parent=_release_all, after_in_child=_release_all)
