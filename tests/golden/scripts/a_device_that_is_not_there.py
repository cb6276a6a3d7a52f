from symnet import theano

theano.config.device = "opencl0:0"
