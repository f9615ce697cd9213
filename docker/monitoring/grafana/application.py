"""Application Performance: how fast the service answers, what it gives up, what is left of the error budget."""

from __future__ import annotations

from panels import GOOD_IF_ONE, Board, number, series

RATE = "[$__rate_interval]"
ANSWERS = 'snn_fusion_requests_total{route=~"/v1/(predict(/batch)?|spikes)"'
SLOW = (
    'sum(increase(snn_fusion_request_seconds_count{route="/v1/predict"}[30d]))'
    ' - sum(increase(snn_fusion_request_seconds_bucket{route="/v1/predict", le="0.1"}[30d]))'
)


def build() -> Board:
    made = Board(
        "Application Performance", "snn-fusion-application", "How fast the service answers, and what it gives up."
    )
    return _replicas(_pressure(_time(_objectives(made))))


def quantiles(metric: str, by: str = "", **labels: str) -> list[tuple[str, str]]:
    """The 50th, 95th and 99th percentile of a histogram."""
    chosen = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    inner = f"sum by (le{by and ', ' + by}) (rate({metric}_bucket{{{chosen}}}{RATE}))"
    legend = f" {{{{{by}}}}}" if by else ""
    return [(f"histogram_quantile({q}, {inner})", f"p{round(100 * q)}{legend}") for q in (0.5, 0.95, 0.99)]


def _objectives(made: Board) -> Board:
    failed = f'(sum(increase({ANSWERS}, status=~"5.."}}[30d])) or vector(0)) / sum(increase({ANSWERS}}}[30d]))'
    slow = f'({SLOW}) / sum(increase(snn_fusion_request_seconds_count{{route="/v1/predict"}}[30d]))'
    left = ((0, "red"), (0.25, "orange"), (0.5, "green"))
    return (
        made.row("Objectives: 99.9 % answered, 99 % within 100 ms")
        .panel(
            number(
                "Availability budget left", f"1 - {failed} / 0.001", "percentunit", left, "Of 30 days; below 0: missed"
            )
        )
        .panel(number("Latency budget left", f"1 - {slow} / 0.01", "percentunit", left, "Of 30 days; below 0: missed"))
        .panel(
            series(
                "Failed, share of predictions",
                "percentunit",
                *((f"snn_fusion:unavailable:ratio_rate{w}", w) for w in ("5m", "1h", "6h")),
                text="The page goes out above 1.44 % (5m and 1h) or 0.6 % (30m and 6h).",
            )
        )
        .panel(
            series(
                "Slower than 100 ms, share of predictions",
                "percentunit",
                *((f"snn_fusion:slow:ratio_rate{w}", w) for w in ("5m", "1h", "6h")),
                text="The page goes out above 14.4 % (5m and 1h) or 6 % (30m and 6h).",
            )
        )
    )


def _time(made: Board) -> Board:
    return (
        made.row("Requests")
        .panel(
            series(
                "By route",
                "reqps",
                (f"sum by (route) (rate(snn_fusion_requests_total{RATE}))", "{{route}}"),
                stacked=True,
            )
        )
        .panel(series("By status", "reqps", (f"sum by (status) (rate(snn_fusion_requests_total{RATE}))", "{{status}}")))
        .panel(
            series("Response time of /v1/predict", "s", *quantiles("snn_fusion_request_seconds", route="/v1/predict"))
        )
        .panel(
            series(
                "Response time, p95 by route",
                "s",
                quantiles("snn_fusion_request_seconds", "route")[1],
                text="Above 1 s for 5 minutes is an alert.",
            )
        )
        .panel(
            series(
                "Where time goes, p95",
                "s",
                (quantiles("snn_fusion_queue_seconds")[1][0], "waiting for a thread"),
                (quantiles("snn_fusion_encode_seconds", "role")[1][0], "encoding, {{role}}"),
                (quantiles("snn_fusion_infer_seconds", "role")[1][0], "inference, {{role}}"),
            )
        )
        .panel(
            series(
                "Recordings that a thread takes at once, mean",
                "none",
                (
                    f"sum(rate(snn_fusion_batch_size_sum{RATE})) / sum(rate(snn_fusion_batch_size_count{RATE}))",
                    "recordings",
                ),
            )
        )
    )


def _pressure(made: Board) -> Board:
    hits = f'sum(rate(snn_fusion_cache_total{{result="hit"}}{RATE}))'
    asked = f'sum(rate(snn_fusion_cache_total{{result=~"hit|miss"}}{RATE}))'
    return (
        made.row("Pressure and cache")
        .panel(
            series(
                "How long a newcomer would wait",
                "s",
                ("snn_fusion_wait_seconds", "{{instance}}"),
                text="From 0.25 s on: fewer steps.",
            )
        )
        .panel(series("Given up", "ops", (f"sum by (how) (rate(snn_fusion_degraded_total{RATE}))", "{{how}}")))
        .panel(series("Waiting pieces of work", "none", ("snn_fusion_waiting", "{{instance}}")))
        .panel(
            series(
                "Cache hit rate", "percentunit", (f"{hits} / {asked}", "hits"), top=1, text="Below 50 % is an alert."
            )
        )
        .panel(
            series(
                "Cache look-ups",
                "ops",
                (f"sum by (result) (rate(snn_fusion_cache_total{RATE}))", "{{result}}"),
                stacked=True,
            )
        )
        .panel(
            series(
                "Streams",
                "none",
                ("sum(snn_fusion_streams_open)", "open"),
                (f"sum by (end) (rate(snn_fusion_streams_total{RATE})) * 60", "{{end}}, a minute"),
            )
        )
    )


def _replicas(made: Board) -> Board:
    return (
        made.row("Replicas")
        .panel(number("Every replica has the champion", "1 - max(snn_fusion_load_failed)", "bool_yes_no", GOOD_IF_ONE))
        .panel(number("They reach the registry", "min(snn_fusion_registry_reachable)", "bool_yes_no", GOOD_IF_ONE))
        .panel(
            series("Requests", "reqps", (f"sum by (instance) (rate(snn_fusion_requests_total{RATE}))", "{{instance}}"))
        )
        .panel(series("Ready", "none", ("snn_fusion_ready", "{{instance}}"), top=1))
        .panel(
            series(
                "Age of the model that is loaded",
                "s",
                ("time() - snn_fusion_model_loaded_timestamp_seconds", "{{instance}}"),
            )
        )
    )
