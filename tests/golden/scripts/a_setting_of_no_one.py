import symnet

symnet.config.floatX = "float16"
