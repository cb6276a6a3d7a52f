import symnet

w = symnet.shared([1.0, 2.0], name="w")
