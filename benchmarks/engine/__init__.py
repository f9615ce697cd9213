"""Our engine beside its peers: the same network, weights and spikes, timed in turns. `make bench`, or see run.py."""
