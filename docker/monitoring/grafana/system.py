"""System Overview: does everything live, and is there room."""

from __future__ import annotations

from panels import BAD_IF_MORE, Board, number, series

DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660"'
ANSWERS = 'snn_fusion_requests_total{route=~"/v1/(predict(/batch)?|spikes)"'


def build() -> Board:
    made = Board("System Overview", "snn-fusion-system", "Does everything live, and is there room.")
    return _storage(_parts(_host(_now(made))))


def _now(made: Board) -> Board:
    available = f'1 - (sum(increase({ANSWERS}, status=~"5.."}}[30d])) or vector(0)) / sum(increase({ANSWERS}}}[30d]))'
    return (
        made.row("Now")
        .panel(
            number(
                "Replicas ready", 'sum(snn_fusion_ready{job="app"})', "none", ((0, "red"), (1, "orange"), (2, "green"))
            )
        )
        .panel(number("Alerts firing", 'count(ALERTS{alertstate="firing"}) or vector(0)', "none", BAD_IF_MORE))
        .panel(number("Parts without metrics", "count(up == 0) or vector(0)", "none", BAD_IF_MORE))
        .panel(
            number(
                "Availability, 30 days",
                available,
                "percentunit",
                ((0, "red"), (0.999, "green")),
                "Share of the predictions that had no status 5xx. The objective is 99.9 %.",
                decimals=3,
            )
        )
        .panel(
            number(
                "Certificate ends in",
                "min(snn_fusion_pipeline_certificate_end_timestamp_seconds) - time()",
                "s",
                ((0, "red"), (3 * 86400, "orange"), (21 * 86400, "green")),
            )
        )
        .panel(
            number(
                "Workspace disk free",
                "min(snn_fusion_pipeline_disk_free_bytes / snn_fusion_pipeline_disk_size_bytes)",
                "percentunit",
                ((0, "red"), (0.05, "orange"), (0.15, "green")),
            )
        )
    )


def _host(made: Board) -> Board:
    used = f"1 - min by (mountpoint) (node_filesystem_avail_bytes{{{DISKS}}} / node_filesystem_size_bytes{{{DISKS}}})"
    cpu = '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))'
    memory = "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"
    return (
        made.row("Host and containers")
        .panel(series("CPU in use", "percentunit", (cpu, "{{instance}}"), top=1))
        .panel(
            series(
                "Memory in use",
                "percentunit",
                (memory, "host {{instance}}"),
                ("snn_fusion_memory_bytes / snn_fusion_memory_limit_bytes", "container {{instance}}"),
                ("redis_memory_used_bytes / (redis_memory_max_bytes > 0)", "redis {{instance}}"),
                text="Above 85 % for 5 minutes is an alert.",
                top=1,
            )
        )
        .panel(series("Disks in use", "percentunit", (used, "{{mountpoint}}"), top=1))
        .panel(
            series(
                "Network",
                "Bps",
                ('sum(rate(node_network_receive_bytes_total{device!="lo"}[$__rate_interval]))', "received"),
                ('sum(rate(node_network_transmit_bytes_total{device!="lo"}[$__rate_interval]))', "sent"),
            )
        )
        .panel(series("Metrics answered, by part", "none", ("min by (job) (up)", "{{job}}"), top=1))
        .panel(
            series(
                "Alerts",
                "none",
                ('count by (severity) (ALERTS{alertstate="firing"}) or vector(0)', "{{severity}}"),
                stacked=True,
            )
        )
    )


def _parts(made: Board) -> Board:
    share = "sum by (instance) (pg_stat_activity_count) / sum by (instance) (pg_settings_max_connections)"
    return (
        made.row("nginx, PostgreSQL, Redis, MLflow, Airflow")
        .panel(
            series(
                "Connections in use",
                "percentunit",
                (share, "postgres"),
                ("redis_connected_clients / 10000", "{{instance}}"),
                ("nginx_connections_active / 4096", "nginx"),
                text="Above 90 % for 5 minutes is an alert.",
                top=1,
            )
        )
        .panel(
            series("nginx requests", "reqps", ("sum(rate(nginx_http_requests_total[$__rate_interval]))", "requests"))
        )
        .panel(
            series(
                "PostgreSQL transactions",
                "ops",
                ('sum by (datname) (rate(pg_stat_database_xact_commit{datname!=""}[$__rate_interval]))', "{{datname}}"),
            )
        )
        .panel(
            series(
                "Redis commands",
                "ops",
                ("sum by (instance) (rate(redis_commands_processed_total[$__rate_interval]))", "{{instance}}"),
            )
        )
        .panel(
            series(
                "MLflow requests",
                "reqps",
                ("sum by (status) (rate(mlflow_http_request_total[$__rate_interval]))", "{{status}}"),
            )
        )
        .panel(
            series(
                "Airflow tasks",
                "none",
                ("sum(airflow_executor_running_tasks)", "running"),
                ("sum(airflow_executor_queued_tasks)", "queued"),
            )
        )
    )


def _storage(made: Board) -> Board:
    age = "time() - max(snn_fusion_pipeline_{}_timestamp_seconds)"
    ended = 'time() - max by (state) (snn_fusion:dag_run_ended:timestamp_seconds{dag_id="retrain"})'
    return (
        made.row("Backups and retrainings")
        .panel(number("Last backup", age.format("backup"), "s", ((0, "green"), (26 * 3600, "red")), "How long ago"))
        .panel(
            number("Last restore drill", age.format("drill"), "s", ((0, "green"), (8 * 86400, "red")), "How long ago")
        )
        .panel(number("Backup's size", "max(snn_fusion_pipeline_backup_bytes)", "bytes"))
        .panel(number("Drill took", "max(snn_fusion_pipeline_drill_duration_seconds)", "s"))
        .panel(series("Since the DAG `retrain` last ended", "s", (ended, "{{state}}")))
    )
