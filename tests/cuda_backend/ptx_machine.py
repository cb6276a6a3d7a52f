"""Takes a kernel's PTX and the arrays it is launched on, runs it thread for thread, as a device would.

Many threads go at once, one lane of an array each, those at the least instruction first, so that threads
that part meet again. What a device would do at random is an error here: a barrier or a shuffle that not all
threads reach, memory that is not the kernel's, an address that does not fit its width, and two threads that
touch the same word, one of them writing, with no barrier between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ptx_operations import Operation, operation
from .ptx_text import Function, Module, Space

WARP = 32
#: Where the spaces that have no addresses of their own begin among generic addresses.
SHARED, LOCAL = np.uint64(1 << 60), np.uint64(1 << 61)
_GUARD = 256
#: Lanes that run at once.
_MOST_LANES = 1 << 14


class DeviceError(Exception):
    """What a kernel did that no device promises to do right."""


class Memory:
    """Global memory: pieces with room between them that belongs to nobody."""

    def __init__(self) -> None:
        self.base = 1 << 40
        self.used = _GUARD
        self.bytes = np.zeros(1 << 16, np.uint8)
        self._free: dict[int, list[int]] = {}
        self._watches: dict[int, Watch] = {}
        self.begin([])

    def allocate(self, count: int) -> int:
        """The address of so many bytes, with a pattern in them that is no sensible number."""
        room = -(-count // _GUARD) * _GUARD + _GUARD
        if self._free.get(room):
            start = self._free[room].pop()
        else:
            start = self.used
            self.used += room
            if self.used > len(self.bytes):
                more = max(self.used, 2 * len(self.bytes)) - len(self.bytes)
                self.bytes = np.concatenate([self.bytes, np.zeros(more, np.uint8)])
        self.bytes[start : start + count] = 0xFF
        return self.base + start

    def free(self, address: int, count: int) -> None:
        """Nobody needs these bytes any more, which `allocate` gave."""
        room = -(-count // _GUARD) * _GUARD + _GUARD
        self._free.setdefault(room, []).append(address - self.base)

    def place(self, array: np.ndarray) -> int:
        """Copy an array in; its address."""
        address = self.allocate(array.nbytes)
        self.write(address, array)
        return address

    def write(self, address: int, array: np.ndarray) -> None:
        """Copy an array to an address."""
        start = address - self.base
        self.bytes[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def array(self, address: int, like: np.ndarray) -> np.ndarray:
        """What lies at an address, as an array like another."""
        start = address - self.base
        return self.bytes[start : start + like.nbytes].view(like.dtype).reshape(like.shape).copy()

    def begin(self, pieces: Sequence[tuple[int, int]]) -> None:
        """A launch begins: nobody has touched anything; it may touch these pieces (address, bytes) alone."""
        self._watches = {}
        starts: list[int] = []
        stops: list[int] = []
        for address, count in sorted(pieces):
            start, stop = address - self.base, address - self.base + count
            if stops and start <= stops[-1]:
                stops[-1] = max(stop, stops[-1])
            elif count:
                starts.append(start)
                stops.append(stop)
        self._starts, self._stops = np.array([0, *starts]), np.array([0, *stops])

    def touched(self) -> tuple[np.ndarray, np.ndarray]:
        """The bytes that a launch read, and those that it wrote, as sorted offsets of words."""
        found = []
        for name in ("reader", "writer"):
            parts = [np.flatnonzero(getattr(w, name)) * step // 4 for step, w in self._watches.items()]
            found.append(np.unique(np.concatenate([np.empty(0, np.int64), *parts])))
        return found[0], found[1]

    def watch(self, size: int) -> Watch:
        """Who touched numbers of so many bytes; those of bytes and those of words are told apart."""
        step = min(size, 4)
        if step not in self._watches:
            self._watches[step] = Watch(len(self.bytes) // step)
        return self._watches[step]

    def offsets(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Byte offsets for addresses that a kernel may touch."""
        offsets = (addresses - np.uint64(self.base)).astype(np.int64)
        piece = np.searchsorted(self._starts, offsets, side="right") - 1
        bad = (offsets < 0) | (offsets + size > self._stops[np.maximum(piece, 0)])
        if bad.any():
            raise DeviceError(f"{int(bad.sum())} threads touch memory that is not theirs")
        return offsets


class Watch:
    """Who touched which word since when: refuses two threads at one, one writing, with no barrier between.

    A block's `epoch` is the number of barriers that it has passed; between blocks there is none. Threads and
    blocks are counted from 1 here, so that 0 is nobody.
    """

    _MANY = -1

    def __init__(self, count: int) -> None:
        self.writer, self.writers_block, self.written, self.reader, self.readers_block, self.read = (
            np.zeros(count, np.int32) for _ in range(6)
        )

    def note_load(self, words: np.ndarray, thread: np.ndarray, block: np.ndarray, epoch: np.ndarray) -> None:
        """Threads read words."""
        thread, block = thread + 1, block + 1
        self._refuse(self._written_by_others(words, thread, block, epoch), "read", "wrote")
        before, old = self.reader[words], self.readers_block[words]
        others = (old == block) & (self.read[words] == epoch) & (before != thread)
        self.reader[words] = np.where(others, self._MANY, thread)
        self.reader[words[self.reader[words] != thread]] = self._MANY
        self.readers_block[words] = np.where((old != 0) & (old != block), self._MANY, block)
        self.readers_block[words[self.readers_block[words] != block]] = self._MANY
        self.read[words] = epoch

    def note_store(
        self,
        words: np.ndarray,
        thread: np.ndarray,
        block: np.ndarray,
        epoch: np.ndarray,
        same: np.ndarray,
    ) -> None:
        """Threads write words; `same`: what each writes is there already."""
        thread, block = thread + 1, block + 1
        self._refuse(self._written_by_others(words, thread, block, epoch) & ~same, "write", "wrote")
        reader, other = self.reader[words], self.readers_block[words]
        clash = (other != 0) & (other != block)
        clash |= (other == block) & (self.read[words] == epoch) & (reader != thread)
        self._refuse(clash & ~same, "write", "read")
        self.writer[words], self.writers_block[words], self.written[words] = thread, block, epoch

    def _written_by_others(self, words, thread, block, epoch) -> np.ndarray:
        writer, other = self.writer[words], self.writers_block[words]
        return (writer != 0) & (writer != thread) & ((other != block) | (self.written[words] == epoch))

    @staticmethod
    def _refuse(clash: np.ndarray, verb: str, others: str) -> None:
        if clash.any():
            raise DeviceError(
                f"{int(clash.sum())} threads {verb} what others {others}, with no barrier between"
            )


class Frame:
    """One function as it runs on some lanes: registers, where each lane is, local memory."""

    def __init__(self, function: Function, code: list[Operation], lanes: int) -> None:
        self.function, self.code = function, code
        self.registers: dict[str, np.ndarray] = {}
        self.arguments: dict[str, np.ndarray] = {}
        self.lanes = lanes
        self.carry = np.zeros(lanes, np.uint64)


class Run:
    """Some blocks of a launch."""

    def __init__(self, machine: Machine, blocks: np.ndarray, grid: int, threads: int) -> None:
        self.machine, self.grid, self.threads = machine, grid, threads
        self.memory = machine.memory
        self.count = len(blocks) * threads
        self.thread = np.tile(np.arange(threads, dtype=np.uint32), len(blocks))
        self.block = np.repeat(blocks.astype(np.uint32), threads)
        self.group = np.repeat(np.arange(len(blocks)), threads)
        self.number = (self.block.astype(np.int64) * threads + self.thread).astype(np.int32)
        warps = -(-threads // WARP)
        self.warp = self.group * warps + self.thread // WARP
        shared = machine.shared_bytes + 16
        self.shared = np.full((len(blocks), shared), 0xFF, np.uint8)
        self.watch = Watch(self.shared.size)
        self.local = np.full((self.count, machine.local_bytes + 16), 0xFF, np.uint8)
        #: How many barriers each block has passed.
        self.epoch = np.zeros(len(blocks), np.int32)
        self.executed = 0
        #: Lanes that wait for others, by the instruction that they wait at.
        self.waiting: dict[int, np.ndarray] = {}

    # --- memory --------------------------------------------------------------------------------

    def load(self, space: str, addresses: np.ndarray, kind: np.dtype, lanes: np.ndarray) -> np.ndarray:
        """Numbers of a kind at addresses, one for each lane."""
        rows, places, owner = self._find(space, addresses, kind.itemsize, lanes)
        if owner != "local":
            watch, words = self._watched(owner, rows, places, kind.itemsize)
            watch.note_load(words, *self._who(lanes))
        return self._bytes(owner, rows, places, kind.itemsize).view(kind).ravel()

    def store(self, space: str, addresses: np.ndarray, values: np.ndarray, lanes: np.ndarray) -> None:
        """Put numbers at addresses."""
        size = values.dtype.itemsize
        rows, places, owner = self._find(space, addresses, size, lanes)
        data = np.ascontiguousarray(values).view(np.uint8).reshape(-1, size)
        if owner != "local":
            # Where all threads write one number, or what is there, who comes last makes no difference.
            watch, words = self._watched(owner, rows, places, size)
            same = (self._bytes(owner, rows, places, size) == data).all(axis=1)
            _, first, groups = np.unique(words, return_index=True, return_inverse=True)
            alike = (data == data[first][groups]).all(axis=1)
            if not alike.all():
                raise DeviceError(f"{int((~alike).sum())} threads write at once what others write otherwise")
            watch.note_store(words, *self._who(lanes), same)
        columns = places[:, None] + np.arange(size)
        if owner == "global":
            self.memory.bytes[columns] = data
        else:
            (self.shared if owner == "shared" else self.local)[rows[:, None], columns] = data

    def _watched(self, owner: str, rows, places: np.ndarray, size: int) -> tuple[Watch, np.ndarray]:
        if owner == "global":
            return self.memory.watch(size), places // min(size, 4)
        return self.watch, rows * self.shared.shape[1] + places

    def _who(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.number[lanes], self.block[lanes].astype(np.int32), self.epoch[self.group[lanes]]

    def _find(self, space: str, addresses: np.ndarray, size: int, lanes: np.ndarray):
        if np.any(addresses % np.uint64(size)):
            raise DeviceError(f"an address is no multiple of the {size} bytes that are asked for")
        if space == "generic":
            kinds = np.where(addresses >= LOCAL, 2, np.where(addresses >= SHARED, 1, 0))
            if np.any(kinds != kinds[0]):
                raise NotImplementedError("threads touch several spaces by one instruction")
            space = ("global", "shared", "local")[kinds[0]]
        if space in ("global", "const"):
            return None, self.memory.offsets(addresses, size), "global"
        base, rows = (SHARED, self.group) if space == "shared" else (LOCAL, np.arange(self.count))
        most = (self.shared if space == "shared" else self.local).shape[1] - 16
        places = (addresses & (base - np.uint64(1))).astype(np.int64)
        if np.any(places + size > most):
            raise DeviceError(f"{space} memory of {most} bytes is left")
        return rows[lanes], places, space

    def _bytes(self, owner: str, rows, places: np.ndarray, size: int) -> np.ndarray:
        columns = places[:, None] + np.arange(size)
        if owner == "global":
            return np.ascontiguousarray(self.memory.bytes[columns])
        return np.ascontiguousarray(
            (self.shared if owner == "shared" else self.local)[rows[:, None], columns]
        )

    # --- running -------------------------------------------------------------------------------

    def run(self, function: Function, arguments: dict[str, np.ndarray], lanes: np.ndarray) -> Frame:
        """Run a function on lanes until all have left it."""
        frame = Frame(function, self.machine.code(function), self.count)
        frame.arguments = arguments
        code = frame.code
        groups: dict[int, np.ndarray] = {0: lanes}
        outer, self.waiting = self.waiting, {}
        while groups or self.waiting:
            if not groups:
                raise DeviceError(
                    f"threads wait for others that do not come, at: "
                    f"{[str(code[place].instruction) for place in self.waiting]}"
                )
            place = min(groups)
            here = groups.pop(place)
            while True:
                step = code[place]
                self.executed += 1
                try:
                    jumps = step.act(self, frame, here)
                except DeviceError as error:
                    raise DeviceError(f"{error}: {step.instruction}") from None
                if jumps is None:
                    place += 1
                    if place in groups:
                        other = groups.pop(place)
                        here = np.sort(np.concatenate([here, other]))
                    continue
                for target, some in jumps:
                    if len(some):
                        known = groups.get(target)
                        groups[target] = some if known is None else np.sort(np.concatenate([known, some]))
                break
        self.waiting = outer
        return frame

    @staticmethod
    def fail(message: str) -> None:
        """Say what a thread did wrong."""
        raise DeviceError(message)

    def meet(self, place: int, here: np.ndarray, of: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Lanes wait at an instruction for all of their block or warp; where to go on, and who may."""
        known = self.waiting.pop(place, None)
        if known is not None:
            here = np.sort(np.concatenate([known, here]))
        there = np.bincount(of[here], minlength=of[-1] + 1)
        complete = there == np.bincount(of, minlength=of[-1] + 1)
        done = complete[of[here]]
        if not done.all():
            self.waiting[place] = here[~done]
        return [(place + 1, here[done])]

    def barrier(self, place: int, here: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """All threads of a block meet; what they touched is settled."""
        jumps = self.meet(place, here, self.group)
        self.epoch[np.unique(self.group[jumps[0][1]])] += 1
        return jumps


class Machine:
    """A module, loaded into a device's memory."""

    def __init__(self, module: Module, memory: Memory | None = None) -> None:
        self.module = module
        self.memory = memory or Memory()
        self.symbols: dict[str, int] = {}
        self.shared_bytes = self.local_bytes = 0
        #: Where the module's own variables lie in global memory.
        self.pieces: list[tuple[int, int]] = []
        self._code: dict[str, list[Operation]] = {}
        functions = [*module.kernels.values(), *module.functions.values()]
        for space in [*module.variables.values(), *(v for f in functions for v in f.variables.values())]:
            self._lay_out(space)

    def _lay_out(self, space: Space) -> None:
        if space.kind in ("global", "const"):
            data = np.frombuffer(space.contents.ljust(space.bytes, b"\0"), np.uint8)
            self.symbols[space.name] = self.memory.place(data)
            self.pieces.append((self.symbols[space.name], space.bytes))
            return
        used = self.shared_bytes if space.kind == "shared" else self.local_bytes
        start = -(-used // space.alignment) * space.alignment
        self.symbols[space.name] = start
        if space.kind == "shared":
            self.shared_bytes = start + space.bytes
        else:
            self.local_bytes = start + space.bytes

    def code(self, function: Function) -> list[Operation]:
        """A function's instructions as what they do."""
        if function.name not in self._code:
            self._code[function.name] = [
                operation(each, place, function, self) for place, each in enumerate(function.code)
            ]
        return self._code[function.name]

    def launch(
        self,
        name: str,
        blocks: int,
        threads: int,
        arguments: Sequence[tuple[int, int]],
        chosen: Sequence[int] | None = None,
    ) -> int:
        """Run a kernel on a grid, or on chosen blocks of it.

        `arguments` are its pointers: an address, and how many bytes it may touch there. Returns how many
        instructions ran, each on any number of threads.
        """
        kernel = self.module.kernels[name]
        if len(kernel.parameters) != len(arguments):
            raise ValueError(f"{name} takes {len(kernel.parameters)} arguments, not {len(arguments)}")
        self.memory.begin([*arguments, *self.pieces])
        given = {
            parameter: np.array([value], np.int64).view(np.uint8)[:size]
            for (parameter, size), (value, _) in zip(kernel.parameters, arguments, strict=True)
        }
        some = max(1, _MOST_LANES // threads)
        executed = 0
        wanted = np.arange(blocks) if chosen is None else np.array(chosen)
        for first in range(0, len(wanted), some):
            numbers = wanted[first : first + some]
            run = Run(self, numbers, blocks, threads)
            run.run(kernel, given, np.arange(run.count))
            executed += run.executed
        return executed
