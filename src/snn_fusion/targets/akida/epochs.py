"""How long the network of windows is trained; apart from the training, which takes seconds to import."""

EPOCHS = 100
