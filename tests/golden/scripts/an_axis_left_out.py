import symnet.tensor as T

x = T.dmatrix("x")
column = x.dimshuffle(0)
