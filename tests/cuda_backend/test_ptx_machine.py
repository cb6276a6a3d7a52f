"""Takes kernels whose results are known, holds what runs PTX with no device to them; what it refuses."""

import numpy as np
import pytest

from .ptx_machine import DeviceError, Machine
from .ptx_text import read

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def kernel(body):
    """A kernel of two pointers, %rd1 and %rd2; %r1 is the thread, %rd3 and %rd4 point at its 4 bytes."""
    return f"""{HEAD}
.visible .entry k(.param .u64 k_param_0, .param .u64 k_param_1)
{{
    .reg .b32 %r<40>; .reg .b64 %rd<40>; .reg .f32 %f<20>; .reg .f64 %d<9>; .reg .pred %p<9>;
    .shared .align 16 .b8 tile[1024];
    ld.param.u64 %rd1, [k_param_0];
    ld.param.u64 %rd2, [k_param_1];
    mov.u32 %r1, %tid.x; // the thread
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mad.lo.s32 %r4, %r2, %r3, %r1;
    mul.wide.u32 %rd5, %r4, 4;
    add.s64 %rd3, %rd1, %rd5;
    add.s64 %rd4, %rd2, %rd5;
    {body}
    ret;
}}
"""


def run(body, a, b, blocks=1, threads=32):
    machine = Machine(read(kernel(body)))
    first, second = machine.memory.place(a), machine.memory.place(b)
    machine.launch("k", blocks, threads, [(first, a.nbytes), (second, b.nbytes)])
    return machine.memory.array(second, b)


NUMBERS = np.arange(-20, 44, dtype=np.int32)


def integers(operation):
    return run(f"ld.global.u32 %r5, [%rd3]; {operation} st.global.u32 [%rd4], %r6;", NUMBERS, 0 * NUMBERS, 2)


@pytest.mark.parametrize(
    "operation, wanted",
    [
        ("div.s32 %r6, %r5, 7;", np.trunc(NUMBERS / 7)),
        ("rem.s32 %r6, %r5, -7;", np.fmod(NUMBERS, 7)),
        ("shr.s32 %r6, %r5, 2;", NUMBERS >> 2),
        ("shr.u32 %r6, %r5, 40;", 0 * NUMBERS),
        ("shl.b32 %r6, %r5, 31;", (NUMBERS.astype(np.int64) << 31).astype(np.int32)),
        ("mul.hi.s32 %r6, %r5, 1431655766;", (NUMBERS.astype(np.int64) * 1431655766) >> 32),
        ("mul.wide.s32 %rd9, %r5, -3; mov.b64 {%r6, %r7}, %rd9;", NUMBERS * -3),
        ("mul.wide.s32 %rd9, %r5, 1; mov.b64 {%r7, %r6}, %rd9;", NUMBERS >> 31),
        ("bfe.s32 %r6, %r5, 1, 3;", ((NUMBERS >> 1 & 7) ^ 4) - 4),
        ("bfi.b32 %r6, 5, %r5, 2, 3;", (NUMBERS & ~28) | 20),
        ("prmt.b32 %r6, %r5, 0, 0x4440;", NUMBERS & 255),
        ("shf.l.wrap.b32 %r6, %r5, %r5, 33;", (NUMBERS << 1) | (NUMBERS < 0)),
        ("lop3.b32 %r6, %r5, 12, 10, 0xE8;", (NUMBERS & 12) | (NUMBERS & 10) | 8),
        ("dp2a.lo.u32.u32 %r6, 131079, %r5, 5;", 5 + 7 * (NUMBERS & 255) + 2 * (NUMBERS >> 8 & 255)),
        ("dp2a.hi.u32.u32 %r6, 7, %r5, 5;", 5 + 7 * (NUMBERS >> 16 & 255)),
        ("min.s32 %r6, %r5, 3; max.s32 %r6, %r6, -3;", NUMBERS.clip(-3, 3)),
        ("clz.b32 %r6, %r5;", [32 - int(n).bit_length() if n >= 0 else 0 for n in NUMBERS]),
        ("setp.lt.s32 %p1|%p2, %r5, 4; selp.b32 %r6, 1, 2, %p2;", np.where(NUMBERS < 4, 2, 1)),
        ("setp.gt.u32 %p1, %r5, 4; selp.u32 %r6, 1, 2, %p1;", np.where((NUMBERS > 4) | (NUMBERS < 0), 1, 2)),
        ("add.cc.u32 %r7, %r5, 20; addc.u32 %r6, 0, 7;", 7 + ((NUMBERS < 0) & (NUMBERS >= -20))),
        ("cvt.u32.s8 %r6, %r5; neg.s32 %r6, %r6;", -NUMBERS),
    ],
)
def test_integers(operation, wanted):
    np.testing.assert_array_equal(integers(operation), np.asarray(wanted, np.int64).astype(np.int32))


FLOATS = np.array(
    [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, np.nan, np.inf, -np.inf, 3e9, -3e9, 1e-40] * 2, np.float32
)


def floats(operation):
    body = f"ld.global.f32 %f1, [%rd3]; {operation} st.global.f32 [%rd4], %f2;"
    return run(body, FLOATS, np.zeros_like(FLOATS), 1, 24)


@pytest.mark.parametrize(
    "operation, wanted",
    [
        ("cvt.rni.f32.f32 %f2, %f1;", np.rint(FLOATS)),
        ("cvt.rzi.f32.f32 %f2, %f1;", np.trunc(FLOATS)),
        ("max.f32 %f2, %f1, 0f3F800000;", np.fmax(FLOATS, 1)),
        ("max.NaN.f32 %f2, %f1, 0f3F800000;", np.maximum(FLOATS, 1)),
        ("setp.neu.f32 %p1, %f1, %f1; selp.f32 %f2, 0f3F800000, 0f00000000, %p1;", np.isnan(FLOATS)),
        ("setp.ne.f32 %p1, %f1, 0f3F000000; selp.f32 %f2, 0f3F800000, 0f00000000, %p1;",
         (FLOATS != 0.5) & ~np.isnan(FLOATS)),
        ("neg.f32 %f2, %f1;", -FLOATS),
        ("cvt.f64.f32 %d1, %f1; cvt.rn.f32.f64 %f2, %d1;", FLOATS),
    ],
)  # fmt: skip
def test_floats(operation, wanted):
    np.testing.assert_array_equal(floats(operation), np.asarray(wanted, np.float32))


def test_floats_become_the_nearest_integers():
    body = "ld.global.f32 %f1, [%rd3]; cvt.rzi.s32.f32 %r6, %f1; st.global.u32 [%rd4], %r6;"
    most, least = 2**31 - 1, -(2**31)
    wanted = [0, 1, 2, 0, -1, -2, 0, most, least, most, least, 0] * 2
    np.testing.assert_array_equal(run(body, FLOATS, np.zeros(24, np.int32), 1, 24), wanted)


def test_a_product_and_a_sum_are_rounded_once():
    """(1 + e) * (1 - e) - 1 is -e²; rounded twice it is 0."""
    a = np.full(32, 1 + 2.0**-23, np.float32)
    body = """ld.global.f32 %f1, [%rd3]; mov.f32 %f3, 0f3F7FFFFE;
    fma.rn.f32 %f2, %f1, %f3, 0fBF800000; st.global.f32 [%rd4], %f2;"""
    np.testing.assert_array_equal(run(body, a, 0 * a), np.full(32, -(2.0**-46)))


def test_threads_that_part_meet_again():
    """Each thread goes round a loop as often as its number says."""
    body = """mov.u32 %r5, 0; mov.u32 %r6, 0;
$AGAIN: setp.ge.u32 %p1, %r5, %r1; @%p1 bra $DONE;
    add.s32 %r6, %r6, %r5; add.s32 %r5, %r5, 1; bra.uni $AGAIN;
$DONE: bar.sync 0; st.global.u32 [%rd4], %r6;"""
    found = run(body, NUMBERS, 0 * NUMBERS, 2)
    np.testing.assert_array_equal(found, [n * (n - 1) // 2 for n in range(32)] * 2)


def test_lanes_swap():
    body = "mov.u32 %r5, %tid.x; shfl.sync.bfly.b32 %r6|%p1, %r5, 4, 31, -1; st.global.u32 [%rd4], %r6;"
    np.testing.assert_array_equal(run(body, NUMBERS, np.zeros(64, np.int32), 1, 64), np.arange(64) ^ 4)


SHARED = """shl.b32 %r5, %r1, 2; mov.u32 %r6, tile; add.s32 %r7, %r6, %r5; st.shared.u32 [%r7], %r1;
    {barrier} xor.b32 %r8, %r5, 252; add.s32 %r9, %r6, %r8; ld.shared.u32 %r10, [%r9];
    st.global.u32 [%rd4], %r10;"""


def test_shared_memory():
    found = run(SHARED.format(barrier="bar.sync 0;"), NUMBERS, np.zeros(128, np.int32), 2, 64)
    np.testing.assert_array_equal(found, [*range(63, -1, -1)] * 2)


def test_vectors_of_four():
    a = np.arange(128, dtype=np.float32)
    body = """mul.wide.u32 %rd6, %r1, 16; add.s64 %rd7, %rd1, %rd6; add.s64 %rd8, %rd2, %rd6;
    ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd7]; st.global.v4.f32 [%rd8], {%f4, %f3, %f2, %f1};"""
    np.testing.assert_array_equal(run(body, a, 0 * a), a.reshape(-1, 4)[:, ::-1].ravel())


REFUSED = {
    "a barrier left out": (SHARED.format(barrier=""), "wrote, with no barrier"),
    "shared memory written again too early": (
        SHARED.format(barrier="bar.sync 0;") + "st.shared.u32 [%r7], 0;",
        "write what others read",
    ),
    "a barrier for some": ("setp.lt.u32 %p1, %r1, 7; @%p1 bar.sync 0;", "threads wait"),
    "threads that left before a barrier": ("setp.lt.u32 %p1, %r1, 7; @%p1 ret; bar.sync 0;", "threads wait"),
    "a shuffle for some": (
        "setp.lt.u32 %p1, %r1, 7; @%p1 shfl.sync.bfly.b32 %r6, %r1, 4, 31, -1;",
        "threads wait",
    ),
    "beyond the end": ("st.global.u32 [%rd4+4], %r1;", "not theirs"),
    "before the beginning": ("ld.global.u32 %r5, [%rd3+-4];", "not theirs"),
    "an odd address": ("ld.global.u32 %r5, [%rd3+2];", "no multiple of the 4|no multiple of 4"),
    "a vector at an address for a number": (
        "ld.global.v2.u32 {%r5, %r6}, [%rd1+4];",
        "no multiple of 8",
    ),
    "two numbers for one word": ("st.global.u32 [%rd2], %r1;", "write at once what others write otherwise"),
    "a word that another block wrote": (
        "st.global.u32 [%rd4], 5; bar.sync 0; ld.global.u32 %r5, [%rd2+4];",
        "read what others wrote",
    ),
    "a word that another block read": (
        "ld.global.u32 %r5, [%rd2+4]; bar.sync 0; st.global.u32 [%rd4], 5;",
        "write what others",
    ),
    "shared memory beyond what there is": ("mov.u32 %r6, tile; ld.shared.u32 %r5, [%r6+1024];", "is left"),
}


@pytest.mark.parametrize("body, message", REFUSED.values(), ids=REFUSED)
def test_what_no_device_promises_is_refused(body, message):
    a = np.arange(128, dtype=np.int32)
    with pytest.raises(DeviceError, match=message):
        run(body, a, -1 - a, 2, 64)


def test_many_may_write_the_same():
    found = run("st.global.u32 [%rd2], 7;", NUMBERS, 0 * NUMBERS, 2)
    assert found[0] == 7 and not found[1:].any()


def test_functions_are_called():
    text = (
        kernel(
            """ld.global.f32 %f1, [%rd3];
    { // callseq 0, 0
    .param .b32 param0;
    st.param.f32 [param0+0], %f1;
    .param .b32 retval0;
    call.uni (retval0), twice, (param0);
    ld.param.f32 %f2, [retval0+0];
    } // callseq 0
    st.global.f32 [%rd4], %f2;"""
        )
        + """.func (.param .b32 func_retval0) twice(.param .b32 twice_param_0)
{
    .reg .f32 %f<3>;
    ld.param.f32 %f1, [twice_param_0];
    add.f32 %f2, %f1, %f1;
    st.param.f32 [func_retval0+0], %f2;
    ret;
}
"""
    )
    machine = Machine(read(text))
    a = np.arange(32, dtype=np.float32)
    first, second = machine.memory.place(a), machine.memory.place(0 * a)
    machine.launch("k", 1, 32, [(first, a.nbytes), (second, a.nbytes)])
    np.testing.assert_array_equal(machine.memory.array(second, a), 2 * a)


def test_what_is_not_known_is_refused():
    with pytest.raises(NotImplementedError, match=r"line \d+: vabsdiff"):
        run("vabsdiff.s32.s32.s32 %r5, %r1, %r1;", NUMBERS, 0 * NUMBERS)
    with pytest.raises(ValueError, match=r"is nothing that is known of PTX"):
        run("?? %r5;", NUMBERS, 0 * NUMBERS)
