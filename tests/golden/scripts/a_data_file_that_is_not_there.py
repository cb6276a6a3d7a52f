from symnet.network3 import load_data_shared

training_data, validation_data, test_data = load_data_shared("nowhere/mnist.pkl.gz")
