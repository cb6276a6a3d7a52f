import symnet.tensor as T

x = T.dscalar("x")
y = x if x > 0 else -x
