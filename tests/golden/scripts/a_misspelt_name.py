import symnet.tensor as T

x = T.matirx("x")
