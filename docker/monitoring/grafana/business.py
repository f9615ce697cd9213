"""Business Metrics: what is deployed, what is asked of it and by how many, and what it costs."""

from __future__ import annotations

from panels import Board, bars, number, series

RATE = "[$__rate_interval]"


def build() -> Board:
    made = Board(
        "Business Metrics", "snn-fusion-business", "What is deployed, what is asked of it, what it costs.", "now-7d"
    )
    return _cost(_use(_models(made)))


def _models(made: Board) -> Board:
    decided = 'max(snn_fusion_pipeline_decisions_total{{outcome="{}"}})'
    return (
        made.row("Models")
        .panel(number("Champion", "max(snn_fusion_pipeline_champion_version)", "none", text="Its version"))
        .panel(
            number(
                "It was trained",
                "time() - max(snn_fusion_pipeline_champion_trained_timestamp_seconds)",
                "s",
                text="How long ago",
            )
        )
        .panel(number("Versions registered", "max(snn_fusion_pipeline_versions)", "none"))
        .panel(number("Promoted", decided.format("promoted"), "none"))
        .panel(number("Refused", decided.format("refused"), "none"))
        .panel(number("Rolled back", decided.format("rolled_back"), "none"))
        .panel(
            series(
                "Replicas by the model that they serve",
                "none",
                (
                    "count by (role, version, arithmetic) (snn_fusion_model_info)",
                    "{{role}}: {{version}}, {{arithmetic}}",
                ),
                stacked=True,
            )
        )
        .panel(
            series(
                "Versions",
                "none",
                ("max(snn_fusion_pipeline_versions)", "registered"),
                ("max(snn_fusion_pipeline_champion_version)", "champion"),
            )
        )
        .panel(
            bars(
                "Accuracy of the last versions",
                "percentunit",
                ("snn_fusion_pipeline_version_accuracy", "version {{version}}, {{view}}"),
            )
        )
    )


def _use(made: Board) -> Board:
    by_model = (
        f"sum by (version) (sum by (instance, role) (rate(snn_fusion_predicted_total{RATE}))"
        " * on (instance, role) group_left (version) snn_fusion_model_info)"
    )
    answered = 'sum(increase(snn_fusion_requests_total{route=~"/v1/predict(/batch)?", status="200"}[24h]))'
    return (
        made.row("Use")
        .panel(number("Predictions answered, 24 h", answered, "short", text="Requests; a batch is one"))
        .panel(number("Recordings computed, 24 h", "sum(increase(snn_fusion_predicted_total[24h]))", "short"))
        .panel(
            number(
                "Users",
                "max(snn_fusion_subjects_active)",
                "none",
                text="Token subjects of the last hour, at the busiest replica",
            )
        )
        .panel(series("Answers by model", "ops", (by_model, "version {{version}}"), stacked=True))
        .panel(
            series(
                "Answers by class",
                "ops",
                (f"sum by (label) (rate(snn_fusion_predicted_total{RATE}))", "{{label}}"),
                stacked=True,
            )
        )
        .panel(
            bars(
                "Answers by class, 24 h",
                "short",
                ("sum by (label) (increase(snn_fusion_predicted_total[24h]))", "{{label}}"),
            )
        )
        .panel(series("Users", "none", ("snn_fusion_subjects_active", "{{instance}}")))
    )


def _cost(made: Board) -> Board:
    threads = f"sum(rate(snn_fusion_encode_seconds_sum{RATE})) + sum(rate(snn_fusion_infer_seconds_sum{RATE}))"
    answers = f"sum(rate(snn_fusion_predicted_total{RATE}))"
    operations = 'max(snn_fusion_pipeline_synaptic_operations{view="fused", kind="effective_acs"})'
    cached = (
        'sum(increase(snn_fusion_cache_total{result="hit"}[24h]))'
        ' / sum(increase(snn_fusion_cache_total{result=~"hit|miss"}[24h]))'
    )
    runs = 'sum by (state) (increase(airflow_dagrun_duration_seconds_sum{dag_id="retrain"}[24h]))'
    return (
        made.row("What it costs")
        .panel(number("Operations a fused recording", operations, "short", text="Synaptic, of the float network"))
        .panel(number("Answered from the cache, 24 h", cached, "percentunit"))
        .panel(number("Last training took", "max(snn_fusion_pipeline_last_training_duration_seconds)", "s"))
        .panel(number("Backup", "max(snn_fusion_pipeline_backup_bytes)", "bytes"))
        .panel(
            number(
                "Workspace disk in use",
                "max(snn_fusion_pipeline_disk_size_bytes - snn_fusion_pipeline_disk_free_bytes)",
                "bytes",
            )
        )
        .panel(
            series("Thread time per 1,000 answers", "s", (f"1000 * ({threads}) / {answers}", "encoding and inference"))
        )
        .panel(series("Time in the DAG `retrain`, 24 h", "s", (runs, "{{state}}")))
        .panel(series("Databases", "bytes", ("max by (datname) (pg_database_size_bytes)", "{{datname}}"), stacked=True))
    )
