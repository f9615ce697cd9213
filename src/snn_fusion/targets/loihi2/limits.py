"""What Loihi 2 can hold. Widths: lava-nc 0.10.0, `lava/proc/lif/models.py` and `lava/proc/dense`; cores: Intel's
technology brief "Taking Neuromorphic Computing to the Next Level with Loihi 2" (2021)."""

WEIGHT_LOW, WEIGHT_HIGH = -256, 254  # of mixed sign: even numbers only, in 8 bits
WEIGHT_EXPONENT = 7  # highest power of two by which a group of synapses is multiplied; the lowest is -8
UNITY = 4096  # decays are multiples of 1 / UNITY
THRESHOLD_HIGH = 2**17 - 1
ALIGNMENT = 6  # activation and threshold are shifted by so many bits to the left
STATE_HIGH = 2**23  # current wraps beyond it, potential stays below it
BIAS_HIGH, BIAS_EXPONENT = 2**12 - 1, 7
DELAY_HIGH = 62  # steps that an axon can wait
CORES, NEURONS_A_CORE, BYTES_A_CORE = 128, 8192, 192 * 1024
