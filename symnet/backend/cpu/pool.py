"""The threads that kernels are shared out among: hands on the address of a function that runs a task
on them.

The pool is IR of our own, since a launch must cost less than a small kernel (0.1 to 0.8 microseconds
here): a worker that has nothing to do looks for work for some tens of microseconds, then sleeps. Work is
taken in chunks, the caller's from the front and the workers' from the back, so each thread tends to meet
the memory it met before; the caller never waits for a sleeper, only for chunks that somebody took. When
another thread's call has the pool, the caller does all its work itself.
"""

from __future__ import annotations

import atexit
import ctypes
import os

from symnet.compile import cache
from symnet.compile.locks import POOL, new_lock
from symnet.config import config

#: Rounds of looking before a worker sleeps: about 50 microseconds.
_LOOKS = 3000
#: Rounds of looking before a caller that waits for the last chunk lets others have the processor.
_LOOKS_AT_END = 1000
#: More workers than this are never started.
MOST_THREADS = 256
#: A range of more chunks than this is run by its caller: two of their numbers share a word with another.
MOST_CHUNKS = (1 << 16) - 1
_STACK_BYTES = 8 << 20

# One word says what is left to do: the launch's number (32 bits), the next chunk from the front and the
# end of those left at the back (16 bits each). Whoever swaps in a word with one chunk less owns that
# chunk. The other fields of a launch are only written while no chunk is left, and a thread that read
# them around a successful swap read them of one launch, as the number is in the word.
_IR = """
@word = internal global i64 0, align 128
@done = internal global i64 0, align 128
@busy = internal global i64 0, align 128
@sleepers = internal global i64 0, align 128
@task = internal global ptr null, align 128
@context = internal global ptr null
@units = internal global i64 0
@grain = internal global i64 0
@wanted = internal global i64 1
@started = internal global i64 0
@stopping = internal global i64 0
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64
@attributes = internal global [128 x i8] zeroinitializer, align 64
@threads = internal global [{most} x i64] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
{declaration}

; Take a chunk: its number, or -1 where none is left.
define internal i64 @take(i1 %front) {{
entry:
  %seen = load atomic i64, ptr @word acquire, align 8
  br label %try
try:
  %now = phi i64 [ %seen, %entry ], [ %other, %lost ]
  %shifted = lshr i64 %now, 16
  %first = and i64 %shifted, 65535
  %last = and i64 %now, 65535
  %some = icmp ult i64 %first, %last
  br i1 %some, label %swap, label %none
swap:
  %without.front = add i64 %now, 65536
  %without.back = sub i64 %now, 1
  %left = select i1 %front, i64 %without.front, i64 %without.back
  %pair = cmpxchg ptr @word, i64 %now, i64 %left acq_rel acquire
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %mine, label %lost
lost:
  %other = extractvalue {{ i64, i1 }} %pair, 0
  br label %try
mine:
  %back = sub i64 %last, 1
  %chunk = select i1 %front, i64 %first, i64 %back
  ret i64 %chunk
none:
  ret i64 -1
}}

; Run a chunk that was taken: nothing changes the launch's fields before all of it is done.
define internal void @work(i64 %chunk) {{
  %task = load ptr, ptr @task
  %context = load ptr, ptr @context
  %units = load i64, ptr @units
  %grain = load i64, ptr @grain
  %first = mul i64 %chunk, %grain
  %end = add i64 %first, %grain
  %over = icmp sgt i64 %end, %units
  %last = select i1 %over, i64 %units, i64 %end
  call void %task(ptr %context, i64 %first, i64 %last)
  ret void
}}

define internal i1 @idle() {{
  %now = load atomic i64, ptr @word seq_cst, align 8
  %shifted = lshr i64 %now, 16
  %first = and i64 %shifted, 65535
  %last = and i64 %now, 65535
  %none = icmp uge i64 %first, %last
  ret i1 %none
}}

define internal ptr @worker(ptr %unused) {{
entry:
  br label %fresh
fresh:
  br label %look
look:
  %looks = phi i64 [ 0, %fresh ], [ %more, %again ]
  %stop = load atomic i64, ptr @stopping acquire, align 8
  %stops = icmp ne i64 %stop, 0
  br i1 %stops, label %leave, label %claim
claim:
  %chunk = call i64 @take(i1 false)
  %got = icmp sge i64 %chunk, 0
  br i1 %got, label %run, label %again
run:
  call void @work(i64 %chunk)
  %before = atomicrmw add ptr @done, i64 1 release
  br label %fresh
again:
  {pause}
  %more = add i64 %looks, 1
  %tired = icmp sge i64 %more, {looks}
  br i1 %tired, label %sleep, label %look
sleep:
  %locked = call i32 @pthread_mutex_lock(ptr @mutex)
  %s = atomicrmw add ptr @sleepers, i64 1 seq_cst
  br label %asleep
asleep:
  %stop.now = load atomic i64, ptr @stopping acquire, align 8
  %goes.on = icmp eq i64 %stop.now, 0
  %nothing = call i1 @idle()
  %stays = and i1 %goes.on, %nothing
  br i1 %stays, label %wait, label %awake
wait:
  %w = call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %asleep
awake:
  %t = atomicrmw sub ptr @sleepers, i64 1 seq_cst
  %unlocked = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %fresh
leave:
  ret ptr null
}}

; Start the workers that are wanted and not there; who calls it has the pool.
define internal void @start() {{
entry:
  %started = load i64, ptr @started
  %a = call i32 @pthread_attr_init(ptr @attributes)
  %b = call i32 @pthread_attr_setstacksize(ptr @attributes, i64 {stack})
  br label %next
next:
  %there = phi i64 [ %started, %entry ], [ %number, %made ]
  %wanted = load atomic i64, ptr @wanted monotonic, align 8
  %number = add i64 %there, 1
  %enough = icmp sge i64 %number, %wanted
  br i1 %enough, label %end, label %make
make:
  %place = getelementptr i64, ptr @threads, i64 %there
  %code = call i32 @pthread_create(ptr %place, ptr @attributes, ptr @worker, ptr null)
  %failed = icmp ne i32 %code, 0
  br i1 %failed, label %end, label %made
made:
  store i64 %number, ptr @started
  br label %next
end:
  ret void
}}

; Run task(context, first, last) for all units, at least once, in chunks of `grain` of them.
define void @run(ptr %task, ptr %context, i64 %units, i64 %grain) {{
entry:
  %wanted = load atomic i64, ptr @wanted monotonic, align 8
  %alone = icmp sle i64 %wanted, 1
  %short = icmp sle i64 %units, %grain
  %rounded = add i64 %units, %grain
  %rounded.less = sub i64 %rounded, 1
  %chunks = sdiv i64 %rounded.less, %grain
  %many.chunks = icmp sgt i64 %chunks, {most_chunks}
  %odd = or i1 %short, %many.chunks
  %serial = or i1 %alone, %odd
  br i1 %serial, label %whole, label %claim
claim:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 acquire monotonic
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %ready, label %whole
whole:
  call void %task(ptr %context, i64 0, i64 %units)
  ret void
ready:
  %started = load i64, ptr @started
  %all = add i64 %started, 1
  %few = icmp slt i64 %all, %wanted
  br i1 %few, label %more, label %publish
more:
  call void @start()
  br label %publish
publish:
  store ptr %task, ptr @task
  store ptr %context, ptr @context
  store i64 %units, ptr @units
  store i64 %grain, ptr @grain
  store atomic i64 0, ptr @done monotonic, align 8
  %old = load atomic i64, ptr @word monotonic, align 8
  %launch = lshr i64 %old, 32
  %following = add i64 %launch, 1
  %high = shl i64 %following, 32
  %new = or i64 %high, %chunks
  store atomic i64 %new, ptr @word seq_cst, align 8
  %sleepers = load atomic i64, ptr @sleepers seq_cst, align 8
  %some = icmp sgt i64 %sleepers, 0
  br i1 %some, label %wake, label %mine.first
wake:
  %others = sub i64 %chunks, 1
  %many = icmp slt i64 %others, %sleepers
  %calls = select i1 %many, i64 %others, i64 %sleepers
  %locked = call i32 @pthread_mutex_lock(ptr @mutex)
  %unlocked = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %signal
signal:
  %left = phi i64 [ %calls, %wake ], [ %less, %signal ]
  %s = call i32 @pthread_cond_signal(ptr @condition)
  %less = sub i64 %left, 1
  %on = icmp sgt i64 %less, 0
  br i1 %on, label %signal, label %mine.first
mine.first:
  br label %mine.next
mine.next:
  %did = phi i64 [ 0, %mine.first ], [ %did.more, %do ]
  %chunk = call i64 @take(i1 true)
  %got = icmp sge i64 %chunk, 0
  br i1 %got, label %do, label %end.first
do:
  call void @work(i64 %chunk)
  %did.more = add i64 %did, 1
  br label %mine.next
end.first:
  %theirs = sub i64 %chunks, %did
  br label %end
end:
  %looks = phi i64 [ 0, %end.first ], [ %looks.more, %yielded ], [ %looks.more, %still ]
  %done = load atomic i64, ptr @done acquire, align 8
  %finished = icmp sge i64 %done, %theirs
  br i1 %finished, label %free, label %still
still:
  {pause}
  %looks.more = add i64 %looks, 1
  %long = icmp sgt i64 %looks.more, {looks_at_end}
  br i1 %long, label %yielded, label %end
yielded:
  %y = call i32 @sched_yield()
  br label %end
free:
  store atomic i64 0, ptr @busy release, align 8
  ret void
}}

; A pool without workers: at first, and in a child process, which has none of its parent's threads.
define void @reset() {{
  store i64 0, ptr @started
  store i64 0, ptr @sleepers
  store i64 0, ptr @busy
  store i64 0, ptr @stopping
  %old = load i64, ptr @word
  %launch = lshr i64 %old, 32
  %high = shl i64 %launch, 32
  store i64 %high, ptr @word
  %m = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %c = call i32 @pthread_cond_init(ptr @condition, ptr null)
  ret void
}}

define i64 @count_workers() {{
  %started = load i64, ptr @started
  ret i64 %started
}}

; From the next launch on so many threads: the workers there are end first, when no launch is in flight.
define void @set_threads(i64 %threads) {{
entry:
  br label %ask
ask:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 acquire monotonic
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %end.them, label %wait
wait:
  %y = call i32 @sched_yield()
  br label %ask
end.them:
  store atomic i64 1, ptr @stopping seq_cst, align 8
  %locked = call i32 @pthread_mutex_lock(ptr @mutex)
  %b = call i32 @pthread_cond_broadcast(ptr @condition)
  %unlocked = call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %next
next:
  %left = load i64, ptr @started
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %join, label %free
join:
  %last = sub i64 %left, 1
  %place = getelementptr i64, ptr @threads, i64 %last
  %thread = load i64, ptr %place
  %j = call i32 @pthread_join(i64 %thread, ptr null)
  store i64 %last, ptr @started
  br label %next
free:
  store atomic i64 0, ptr @stopping seq_cst, align 8
  store atomic i64 %threads, ptr @wanted seq_cst, align 8
  store atomic i64 0, ptr @busy release, align 8
  ret void
}}
"""

#: Where there are no POSIX threads every launch runs on its caller.
_ALONE = """
define void @run(ptr %task, ptr %context, i64 %units, i64 %grain) {
  call void %task(ptr %context, i64 0, i64 %units)
  ret void
}
define void @reset() {
  ret void
}
define void @set_threads(i64 %threads) {
  ret void
}
define i64 @count_workers() {
  ret i64 0
}
"""

_PAUSES = {
    "x86": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "arm": ('call void asm sideeffect "yield", ""()', ""),
}


class _Pool:
    """The loaded code. It is never unloaded: a worker may be in it for as long as the process lives."""

    def __init__(self) -> None:
        from symnet.backend.cpu.llvm import load_object

        self._code = load_object(_object_code())
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._code))
        self.run = self._code.address("run")
        self.reset = ctypes.CFUNCTYPE(None)(self._code.address("reset"))
        self.set_threads = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._code.address("set_threads"))
        self.count_workers = ctypes.CFUNCTYPE(ctypes.c_int64)(self._code.address("count_workers"))
        self.reset()


_lock = new_lock(POOL)
_pool: _Pool | None = None


def run_address() -> int:
    """The address of `void run(task, context, units, grain)`; the pool is made at the first request.

    `run` calls `void task(context, first, last)` for ranges that together are the units 0 to `units`,
    each a whole number of `grain`s from the front, on the caller and on workers; it returns when all
    are done.
    """
    return _the_pool().run


def count_workers() -> int:
    """How many threads the pool has started beside its callers."""
    return 0 if _pool is None else int(_the_pool().count_workers())


def _the_pool() -> _Pool:
    global _pool
    with _lock:
        if _pool is None:
            made = _Pool()
            made.set_threads(config.threads)
            config.on_change("threads", made.set_threads)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=made.reset)
            atexit.register(made.set_threads, 1)
            _pool = made
        return _pool


def _object_code() -> bytes:
    from symnet.backend.cpu.machine import host_machine

    text = _text()
    key = cache.key(["pool", text, cache.emitter_fingerprint()]) if config.cache else None
    found = cache.load(key) if key is not None else None
    if found is not None:
        return found[0]
    from symnet.backend.cpu import llvm

    data = llvm.emit_object(text, host_machine())
    if key is not None:
        cache.store(key, data, {"name": "pool"})
    return data


def _text() -> str:
    if os.name != "posix":
        return _ALONE
    from symnet.backend.cpu.machine import host_machine

    kinds = {"x86_64": "x86", "i686": "x86", "aarch64": "arm", "arm64": "arm"}
    kind = kinds.get(host_machine().triple.partition("-")[0], "")
    pause, declaration = _PAUSES.get(kind, ("", ""))
    return _IR.format(
        pause=pause,
        declaration=declaration,
        looks=_LOOKS,
        looks_at_end=_LOOKS_AT_END,
        most=MOST_THREADS,
        most_chunks=MOST_CHUNKS,
        stack=_STACK_BYTES,
    )
