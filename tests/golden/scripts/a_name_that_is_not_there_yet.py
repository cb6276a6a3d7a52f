from symnet import theano

results, updates = theano.scan(lambda x: x + 1, n_steps=3)
