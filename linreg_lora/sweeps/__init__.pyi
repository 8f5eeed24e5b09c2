"""Grids of problems in memory and from files, and where their cells run."""

from .config import SweepConfig, load_sweep, parse_sweep
from .curves import FailedCells, failures, sweep
from .executors import LocalProcesses, cluster, local_processes
from .phase import phase_grid
from .run import SweepRequest, plan_sweep, run_sweep

__all__ = [
    "FailedCells",
    "LocalProcesses",
    "SweepConfig",
    "SweepRequest",
    "cluster",
    "failures",
    "load_sweep",
    "local_processes",
    "parse_sweep",
    "phase_grid",
    "plan_sweep",
    "run_sweep",
    "sweep",
]
