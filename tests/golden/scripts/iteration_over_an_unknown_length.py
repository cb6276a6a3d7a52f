import symnet.tensor as T

x = T.dmatrix("x")
rows = [row.sum() for row in x]
