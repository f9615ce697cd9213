"""What nginx reads of this installation: replicas, the canary's share, limits, who may read metrics."""

from __future__ import annotations

import json
from pathlib import Path

from snn_fusion.deploy.options import Options
from snn_fusion.deploy.rollout.live import Live
from snn_fusion.workspace import disk_errors, write_atomic

PORT = 8080
KEPT_S = 3  # nginx keeps an idle connection to a replica, which itself closes it after 5 s
# The last number of each replica's address, as compose.yaml gives it.
ADDRESS = {"app-1": 11, "app-2": 12, "app-3": 13, "app-4": 14}


def write(folder: Path, options: Options, live: Live | None = None) -> None:
    """Write the files of `folder`. `live`: which replicas answer; as the last update left them unless given."""
    found = live or Live.load(folder.parent)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for name, content in {
            "upstream.conf": upstream(options.subnet, found),
            "site.conf": site(options),
            "metrics.conf": "".join(f"allow {network};\n" for network in options.metrics_from),
        }.items():
            path = folder / name
            if not path.exists() or path.read_text() != content:
                write_atomic(path, content)
            path.chmod(0o644)
    _write_targets(folder.parent / "prometheus", options, found)


def _write_targets(folder: Path, options: Options, live: Live) -> None:
    """What Prometheus asks that is not always there: the replicas, and the broker of Celery."""
    broker = ["broker:6379"] if "celery" in options.profiles else []
    replicas = [f"{name}:{PORT}" for name in (*live.serving, *live.canary)]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for name, targets in (("app.yml", replicas), ("broker.yml", broker)):
            write_atomic(folder / name, json.dumps([{"targets": targets}]) + "\n")  # JSON is YAML
            (folder / name).chmod(0o644)


def upstream(subnet: str, live: Live) -> str:
    """A replica that fails once is left alone for 2 s, and another one is asked. When all have failed, those that serve
    are asked nevertheless: two closed connections within 2 s must not stop all requests.

    `$canary` is 1 for the canary's share of the requests. Where the canary fails, an active replica is asked.
    """
    fallback = _servers(subnet, live.serving, "max_fails=0 backup")
    share = f"    {100 * live.share:g}% 1;\n" if live.canary else ""
    pools = {"service": live.serving, "canary": live.canary or live.serving}
    return (
        "".join(
            f"upstream {name} {{\n    zone {name} 128k;\n    least_conn;\n"
            f"{_servers(subnet, replicas, 'max_fails=1 fail_timeout=2s')}{fallback}"
            f"    keepalive 64;\n    keepalive_timeout {KEPT_S}s;\n}}\n"
            for name, replicas in pools.items()
        )
        + f"split_clients $correlation $canary {{\n{share}    * 0;\n}}\n"
    )


def _servers(subnet: str, replicas: tuple[str, ...], options: str) -> str:
    return "".join(f"    server {subnet}.{ADDRESS[name]}:{PORT} {options};  # {name}\n" for name in replicas)


def site(options: Options) -> str:
    port = "" if options.https_port == 443 else f":{options.https_port}"
    trusted = "".join(f"set_real_ip_from {network};\n" for network in options.trusted_proxies)
    return (
        f'map "" $https_port {{ default "{port}"; }}\n'
        f"limit_req_zone $binary_remote_addr zone=requests:10m rate={options.rate}r/s;\n"
        + (f"{trusted}real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n" if trusted else "")
    )
