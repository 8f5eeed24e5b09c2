"""The committed figures: their folder, their data and what the code draws of these."""

import functools
from pathlib import Path

import xarray as xr

from linreg_lora import figures

FOLDER = Path(__file__).parent.parent / "figures"


@functools.cache
def committed(name):
    """The data of a committed figure."""
    return xr.load_dataset(FOLDER / f"{name}.nc", engine="h5netcdf")


@functools.cache
def drawn(name):
    """A committed figure, drawn again from its data."""
    return figures.module(name).draw(committed(name))
