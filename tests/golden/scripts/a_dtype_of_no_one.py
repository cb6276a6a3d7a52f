import symnet.tensor as T

x = T.matrix("x", dtype="float31")
