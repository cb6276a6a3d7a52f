import symnet.tensor as T

counts = T.lmatrix("counts")
p = T.nnet.softmax(counts)
