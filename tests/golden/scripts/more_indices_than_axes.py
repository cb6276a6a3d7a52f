import symnet.tensor as T

x = T.dmatrix("x")
entry = x[0, 1, 2]
