import symnet.tensor as T

x = T.dmatrix("x")
total = T.sum(x, axis=2)
