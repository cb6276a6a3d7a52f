"""Takes kernels whose needs are known, holds what `ptxas.usages` reads to them."""

import pytest

from .ptxas import Usage, read, usages

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
#: Two kernels: one that sums through shared memory, one that keeps an array of its own.
MODULE = (
    HEAD
    + """
.visible .entry shares(.param .u64 out)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<2>;
    .shared .align 4 .b8 tile[1024];
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    st.shared.u32 [tile], %r1;
    bar.sync 0;
    ld.shared.u32 %r2, [tile+4];
    st.global.u32 [%rd1], %r2;
    ret;
}
.visible .entry keeps(.param .u64 out)
{
    .local .align 4 .b8 own[64];
    .reg .b32 %r<3>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    mov.u64 %rd3, own;
    add.u64 %rd4, %rd3, %rd2;
    st.local.u32 [%rd4], %r1;
    ld.local.u32 %r2, [own+8];
    st.global.u32 [%rd1], %r2;
    ret;
}
"""
)


@pytest.mark.parametrize("compute", [(8, 0), (9, 0)])
def test_what_each_kernel_takes(compute):
    found = usages(MODULE, compute)
    assert list(found) == ["shares", "keeps"] or list(found) == ["keeps", "shares"]
    assert found["shares"].shared == 1024 and found["shares"].stack == 0
    assert found["keeps"].shared == 0 and found["keeps"].stack == 64
    for usage in found.values():
        assert 4 <= usage.registers <= 32 and usage.spills == 0


def test_what_is_refused_is_shown():
    with pytest.raises(ValueError, match=r"(?s)refuses.*add\.u65"):
        usages(MODULE.replace("add.u64", "add.u65"), (9, 0))


def test_spills_are_read():
    text = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_90'
ptxas info    : Function properties for k
    136 bytes stack frame, 140 bytes spill stores, 132 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 136 bytes cumulative stack size, 16384 bytes smem
ptxas info    : Compile time = 11.343 ms
"""
    assert read(text) == {"k": Usage(255, 16384, 136, 140, 132)}
    assert read(text)["k"].spills == 272


@pytest.mark.parametrize(
    "text", ["", "ptxas info : Compiling entry function 'k' for 'sm_90'", "Used 3 registers, used 0 barriers"]
)
def test_words_that_are_not_known_are_no_figures(text):
    with pytest.raises(ValueError, match="ptxas wrote"):
        read(text)
