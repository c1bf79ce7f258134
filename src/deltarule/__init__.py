"""Neural networks from the first neuron to a trained network."""
