"""The CUDA backend: a Program as kernels for a graphics processor, and what runs them there."""
