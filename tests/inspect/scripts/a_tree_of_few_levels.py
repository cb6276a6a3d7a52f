import symnet
import symnet.tensor as T

x = T.dvector("x")
inner = T.sqr(x) + 1
inner.name = "inner"
y = T.tanh(T.sqrt(inner))
shown = symnet.dprint(y, file="str", depth=2, print_type=False)
shown += symnet.dprint(y, file="str", stop_on_name=True, ids="")
