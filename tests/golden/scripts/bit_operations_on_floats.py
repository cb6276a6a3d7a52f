import symnet.tensor as T

x = T.dvector("x")
both = x & (x > 0)
