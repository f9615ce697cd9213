"""What SpiNNaker and its `IF_curr_delta` core hold. Widths and limits: spynnaker 7.4.1 (`population_vertex.py`,
`synapse_dynamics_static.py`, `utilities/constants.py`); board: spinn_machine 7.4.1, `version/version_5.py`."""

FRACTION = 15  # bits behind the point of s16.15: potentials, currents, time constants
ONE = 1 << FRACTION
POTENTIAL_HIGH = 2**31 - 1
WORD_HIGH = 0xFFFF  # a synapse's weight, and a slot of the ring buffer
SHIFT_HIGH = 14  # of a slot's bits to s16.15: with it a current stays within +-2^30, and no sum of potentials wraps
NEURONS_A_CORE = 256
FAN_IN_HIGH = 65_537  # synapses of a neuron whose words always add up within 32 bits
ROW_HEADER = 3  # words before those of a source's synapses
DELAY_SLOTS = 32  # steps that a ring buffer of 256 neurons and two synapse types can wait
DELAY_STAGES = 8  # further rounds of so many steps in a delay extension's core
CORES = 808 - 48  # of a SpiNN-5 board, as the tool counts them, less one of each chip that moves data
CORES_A_CHIP, SDRAM_A_CHIP = 16, 123_469_792
SYNAPSES_A_SECOND = 13_000_000  # that one core handles, `synapse_dynamics_static.py`
TIME_STEP = 1e-3  # seconds of the machine's timer at time scale factor 1
