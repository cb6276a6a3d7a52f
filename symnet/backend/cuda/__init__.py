"""The CUDA backend: a Program as kernels for a graphics processor, and what runs them there.

The way of the data: `emit` makes works of a Program's steps, each a `body` printed by `nest_bodies` (grids in
`mapping`, lanes that share a sum in `sharing`, four items at once in `lockstep`) or by `contraction` (tiles
chosen in `contraction_model`); `order` says which wait for which and share a kernel, `kernel_text` writes
that kernel. `text_code` reads its text as LLVM IR, of which `nvvm` makes PTX and `linker` machine code;
`toolkit` has Numba compile the text, or simulate it. `specialisation` runs the kernels as one graph on a
`device`: a GPU by its `driver`, or the `simulator`; `many` runs many calls without the host.
"""
