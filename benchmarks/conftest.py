"""Prints, after a run of pytest-benchmark, how much faster the fused kernels are than torch on the same work."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Ratios of the median times within each group: torch over fused."""
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    groups: dict[str, dict[str, float]] = {}
    for bench in session.benchmarks:
        groups.setdefault(bench.group, {})[bench.extra_info["engine"]] = bench.stats.median
        for name, value in bench.extra_info.items():
            if name.endswith("/s"):
                terminalreporter.write_line(f"{bench.group:45s} {bench.extra_info['engine']:8s} {value:10.1f} {name}")
    for group, times in groups.items():
        if {"fused", "torch"} <= times.keys():
            terminalreporter.write_line(f"{group:45s} torch / fused = {times['torch'] / times['fused']:.1f}")
