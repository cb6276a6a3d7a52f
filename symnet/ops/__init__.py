"""What ops mean, one family a file: shape rule, NumPy meaning, gradient."""
