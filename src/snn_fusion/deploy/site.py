"""What nginx reads of this installation: replicas and their weights, limits, who may read metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from snn_fusion.deploy.options import Options
from snn_fusion.workspace import disk_errors, write_atomic

PORT = 8080
ADDRESS = {"app-1": 11, "app-2": 12}  # the last number of each replica's address, as compose.yaml gives it


def write(folder: Path, options: Options, replicas: Mapping[str, int] | None = None) -> None:
    """Write the files of `folder`. `replicas`: services and their weights; all replicas alike unless given."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for name, content in {
            "upstream.conf": upstream(options.subnet, replicas or dict.fromkeys(ADDRESS, 1)),
            "site.conf": site(options),
            "metrics.conf": "".join(f"allow {network};\n" for network in options.metrics_from),
        }.items():
            path = folder / name
            if not path.exists() or path.read_text() != content:
                write_atomic(path, content)
            path.chmod(0o644)


def upstream(subnet: str, replicas: Mapping[str, int]) -> str:
    """A replica that fails once is left alone for 2 s; the other one is asked meanwhile."""
    servers = "".join(
        f"    server {subnet}.{ADDRESS[name]}:{PORT} weight={weight} max_fails=1 fail_timeout=2s;  # {name}\n"
        for name, weight in replicas.items()
        if weight
    )
    return f"upstream service {{\n    zone service 128k;\n    least_conn;\n{servers}    keepalive 64;\n}}\n"


def site(options: Options) -> str:
    port = "" if options.https_port == 443 else f":{options.https_port}"
    trusted = "".join(f"set_real_ip_from {network};\n" for network in options.trusted_proxies)
    return (
        f'map "" $https_port {{ default "{port}"; }}\n'
        f"limit_req_zone $binary_remote_addr zone=requests:10m rate={options.rate}r/s;\n"
        + (f"{trusted}real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n" if trusted else "")
    )
