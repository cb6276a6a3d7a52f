import symnet.tensor as T

x = T.dvector("x")
y = x + "1"
