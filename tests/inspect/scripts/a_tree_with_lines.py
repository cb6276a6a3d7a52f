import symnet
import symnet.tensor as T

x = T.dvector("x")
y = T.exp(x)
z = y / (1 + y)
shown = symnet.dprint(z, file="str", lines=True, print_clients=True, ids="int")
