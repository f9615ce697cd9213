"""sPyNNaker writes the row of each source by looking through all synapses; here it looks through those of a block."""

import numpy as np

BLOCK = 64  # rows


def in_blocks(whole):
    """The tool's own function that parts synapses into rows, called for a few rows and their synapses at a time.

    Each row is still what the tool makes of it: a stable sort leaves the order within a row as it was. Without this a
    core with R sources and S synapses costs R * S comparisons: a minute for a million synapses.
    """

    def convert(self, row, n_rows, data, max_n_synapses):
        order = np.argsort(row, kind="stable")
        row, data = row[order], data[order]
        starts = np.arange(0, n_rows, BLOCK)
        rows = []
        for first, begin, end in zip(starts, *np.searchsorted(row, [starts, starts + BLOCK]), strict=True):
            count = min(BLOCK, n_rows - first)
            rows += whole(self, row[begin:end] - first, count, data[begin:end], max_n_synapses)
        return rows

    return convert


def hurry():
    from spynnaker.pyNN.models.neuron.synapse_dynamics.abstract_sdram_synapse_dynamics import (
        AbstractSDRAMSynapseDynamics as Dynamics,
    )

    Dynamics.convert_per_connection_data_to_rows = in_blocks(Dynamics.convert_per_connection_data_to_rows)
