import symnet
import symnet.tensor as T

x, w, b = T.fmatrix("x"), T.fmatrix("w"), T.fvector("b")
p = T.nnet.softmax(T.dot(x, w) + b)
p.name = "p"
cost = -T.mean(T.log(p)[T.arange(3), T.lvector("y")])
shown = symnet.dprint([cost, p], file="str")
