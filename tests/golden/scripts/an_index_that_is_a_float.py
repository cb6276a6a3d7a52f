import symnet.tensor as T

x = T.dvector("x")
half = x[: x.shape[0] / 2]
