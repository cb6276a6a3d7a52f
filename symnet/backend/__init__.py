"""What runs a program: the NumPy reference, and the CPU's kernels."""
