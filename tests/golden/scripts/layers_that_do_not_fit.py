from symnet.network3 import FullyConnectedLayer, Network, SoftmaxLayer

net = Network([FullyConnectedLayer(784, 30), SoftmaxLayer(100, 10)], 10)
