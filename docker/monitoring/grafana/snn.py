"""SNN Processing: how much the network spikes in service and in tests, how it learnt, what it costs in operations."""

from __future__ import annotations

from application import quantiles
from panels import Board, bars, curve, number, series

RATE = "[$__rate_interval]"
CURVE = "snn_fusion_pipeline_learning_curve"
ALL = "Of the last training, and of those before it in the time that is shown."


def build() -> Board:
    made = Board(
        "SNN Processing", "snn-fusion-snn", "How much the network spikes, how it learnt, what it costs.", "now-24h"
    )
    return _cost(_learning(_drift(_spikes(made))))


def _mean(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}_sum{RATE})) / sum by ({by}) (rate({metric}_count{RATE}))"


def _spikes(made: Board) -> Board:
    steps = f"sum(rate(snn_fusion_steps_share_sum{RATE})) / sum(rate(snn_fusion_steps_share_count{RATE}))"
    whole = (
        f'sum(rate(snn_fusion_steps_share_bucket{{le="0.8"}}{RATE})) / sum(rate(snn_fusion_steps_share_count{RATE}))'
    )
    return (
        made.row("Spikes of the recordings that were answered")
        .panel(
            series(
                "Input spikes a channel and step, by sense",
                "none",
                (_mean("snn_fusion_input_spike_rate", "sense"), "{{sense}}"),
            )
        )
        .panel(
            series(
                "Spikes a neuron and step, by layer",
                "none",
                (_mean("snn_fusion_layer_firing_rate", "layer"), "{{layer}}"),
            )
        )
        .panel(
            series(
                "Spikes a neuron and step, p95 by layer",
                "none",
                quantiles("snn_fusion_layer_firing_rate", "layer")[1],
            )
        )
        .panel(
            series(
                "Steps used, of all steps",
                "percentunit",
                (steps, "mean"),
                (f"1 - {whole}", "answers that used more than 80 %"),
                top=1,
            )
        )
        .panel(
            series(
                "Senses left out of an answer",
                "ops",
                (f"sum by (sense) (rate(snn_fusion_senses_rejected_total{RATE})) or vector(0)", "{{sense}}"),
            )
        )
        .panel(
            bars(
                "Firing rates in the last evaluation",
                "none",
                ('snn_fusion_pipeline_evaluation_firing_rate{view="fused"}', "{{layer}}"),
                "Spikes a neuron and step on clean recordings of all senses together.",
            )
        )
    )


def _drift(made: Board) -> Board:
    by = "(role, view, measurement)"
    return made.row("Drift").panel(
        series(
            "Population stability index of spike rates",
            "none",
            (f"max by {by} (snn_fusion_drift_psi)", "{{role}} {{view}} {{measurement}}"),
            ("min(snn_fusion_drift_limit)", "lowest limit"),
            text="Requests against training; from 100 recordings on. Above its own limit for 15 minutes is an alert.",
        )
    )


def _learning(made: Board) -> Board:
    def of(measure: str) -> str:
        shown = f'last_over_time({CURVE}{{measure=~"{measure}"}}[$__range])'
        return f'label_join({shown}, "line", " ", "measure", "training")'

    ended = "time() - max(snn_fusion_pipeline_last_training_timestamp_seconds)"
    return (
        made.row("Trainings")
        .panel(number("Last training ended", ended, "s", text="How long ago"))
        .panel(number("It took", "max(snn_fusion_pipeline_last_training_duration_seconds)", "s"))
        .panel(number("Epochs", "max(snn_fusion_pipeline_last_training_epochs)", "none"))
        .panel(number("Best epoch", "max(snn_fusion_pipeline_last_training_best_epoch)", "none"))
        .panel(curve("Loss by epoch", "none", of("loss|val_loss"), "epoch", "line", ALL))
        .panel(curve("Accuracy by epoch", "percentunit", of("accuracy|val_accuracy_.*"), "epoch", "line", ALL))
        .panel(curve("Firing rates by epoch", "none", of("rate_.*"), "epoch", "line", ALL))
        .panel(
            series(
                "Best validation loss of each training",
                "none",
                (f'min by (training) ({CURVE}{{measure="val_loss"}})', "{{training}}"),
                text="A training is called by the beginning of its weights' digest.",
            )
        )
        .panel(
            bars(
                "Accuracy of the last versions",
                "percentunit",
                ("snn_fusion_pipeline_version_accuracy", "version {{version}}, {{view}}"),
                "On clean recordings, to 0.1 %.",
            )
        )
        .panel(
            bars(
                "Accuracy in the last evaluation",
                "percentunit",
                ("snn_fusion_pipeline_accuracy", "{{condition}}, {{view}}"),
            )
        )
    )


def _cost(made: Board) -> Board:
    return (
        made.row("Synaptic operations a recording")
        .panel(
            bars(
                "Float network",
                "short",
                ("snn_fusion_pipeline_synaptic_operations", "{{view}}, {{kind}}"),
                "NeuroBench's definitions. effective_acs: spikes times synapses; dense: every synapse in every step.",
            )
        )
        .panel(
            bars(
                "Compiled for a chip",
                "short",
                ("snn_fusion_pipeline_target_synaptic_operations", "{{target}}, {{kind}}, {{provenance}}"),
                "As the chip's simulator counts them. Akida's licence forbids to publish figures: it is not shown.",
            )
        )
    )
