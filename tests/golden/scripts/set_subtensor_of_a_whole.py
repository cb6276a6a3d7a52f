import symnet.tensor as T

x = T.dvector("x")
y = T.set_subtensor(x, 0)
