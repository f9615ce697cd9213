"""The targets by name, in the order in which they are shown; dags/retrain.py names them too."""

NAMES = ("loihi2", "akida", "akida2", "spinnaker")
TITLES = {"loihi2": "Loihi 2", "akida": "Akida", "akida2": "Akida 2", "spinnaker": "SpiNNaker"}
