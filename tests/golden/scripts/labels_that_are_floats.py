import symnet.tensor as T

p, y = T.dmatrix("p"), T.dvector("y")
loss = T.nnet.categorical_crossentropy(p, y)
