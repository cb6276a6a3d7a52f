from symnet import theano

theano.config.device = "gpu"
