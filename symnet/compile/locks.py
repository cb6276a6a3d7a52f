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
from array import array
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

#: Ranks, in the order in which one thread may take them.
CONTAINER, WAITING, FUNCTION, POOL, CODE_GENERATOR, LIBRARY = range(6)

#: Words of a container, which the launcher reads and writes: the address of the array object; by how many
#: Python paths the container is held; in how many quick calls it is, -1 in one that updates it; whether
#: others may hold its array; its version.
ARRAY_OBJECT, HELD, BUSY, LENT, VERSION = range(5)
#: How long a wake-up that an interrupt swallowed delays whoever waits, in seconds.
_PATIENCE = 0.05


class Lock(Protocol):
    """What can be acquired and released."""

    def acquire(self) -> bool:
        """Wait for it and take it."""

    def release(self) -> None:
        """Let it go."""


_ages = itertools.count()
#: Held while the books below change, and during a fork.
_books = threading.Lock()
_places: weakref.WeakKeyDictionary[Lock, tuple[int, int]] = weakref.WeakKeyDictionary()
_held: list[Lock] = []


def new_lock(rank: int) -> threading.RLock:
    """A reentrant lock; a thread that holds it takes only locks of a higher rank, or younger ones."""
    lock = threading.RLock()
    keep_over_forks(lock, rank)
    return lock


def keep_over_forks(lock: Lock, rank: int) -> None:
    """Count a reentrant lock that is somebody else's among those that a fork takes."""
    with _books:
        _places[lock] = rank, next(_ages)


class ContainerLock:
    """The reentrant lock of a container, which quick calls respect without taking it.

    A quick call marks the containers that it uses as busy, in one go with finding that nobody holds them:
    no other Python thread runs in between. So whoever takes this lock tells so first, whereupon no quick
    call begins, and then waits for those that are under way.
    """

    __slots__ = ("__weakref__", "_lock", "words")

    def __init__(self, words: array[int]) -> None:
        self._lock = threading.RLock()
        self.words = words
        keep_over_forks(self, CONTAINER)

    def acquire(self) -> bool:
        """Wait for the lock, and for the quick calls that use the container."""
        self._lock.acquire()
        self.words[HELD] += 1
        if self.words[BUSY]:
            try:
                with _idle:
                    while self.words[BUSY]:
                        _idle.wait(_PATIENCE)
            except BaseException:
                self.release()
                raise
        return True

    def wait_for_updates(self) -> None:
        """Wait until nobody has the lock and no quick call updates the container."""
        with self._lock:
            if self.words[BUSY] >= 0:
                return
        with self:
            pass

    def release(self) -> None:
        """Let the container go."""
        self.words[HELD] -= 1
        self._lock.release()

    def __enter__(self) -> ContainerLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Locks:
    """Locks that are taken together, always in the same order."""

    __slots__ = ("_locks",)

    def __init__(self, locks: Sequence[Lock]) -> None:
        self._locks = tuple(locks)

    def __enter__(self) -> None:
        taken = 0
        try:
            for lock in self._locks:
                lock.acquire()
                taken += 1
        except BaseException:
            for lock in self._locks[:taken]:
                lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lock in self._locks:
            lock.release()


_idle = threading.Condition(new_lock(WAITING))


def wake() -> None:
    """Tell whoever waits for a container that a quick call is over; the launcher calls this."""
    with _idle:
        _idle.notify_all()


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
