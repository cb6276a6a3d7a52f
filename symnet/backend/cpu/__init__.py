"""The CPU: kernels as LLVM IR or Numba source, their object code, and the entry that calls them."""
