"""Learn a loss function for your model, data set and metric."""
