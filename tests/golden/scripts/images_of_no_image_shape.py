from symnet.network3 import ConvPoolLayer, FullyConnectedLayer, Network

net = Network(
    [ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 28)), FullyConnectedLayer(20 * 12 * 12 + 1, 30)],
    10,
)
