from symnet.theano.tensor.slinalg import cholesky
