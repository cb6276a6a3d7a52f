import symnet
import symnet.tensor as T

x = T.dmatrix("x")
y = T.ivector("y")
p = T.nnet.softmax(x)
cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
train = symnet.function([x], cost)
