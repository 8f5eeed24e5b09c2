"""Phase grids: the winner and the best rank over a grid of problems."""

import numpy as np
import pytest

from linreg_lora import Problem, local_processes, phase_grid
from linreg_lora.errors import InvalidInput
from linreg_lora.sweeps.phase import Winner

BASE = Problem(n=60, dx=20, dy=16, spectrum=(3.0, 2.0), noise_std=1.0)
AXES = {"n": [10, 20, 60], "noise_std": [0.1, 1.0, 30.0]}


@pytest.fixture(scope="module")
def phases():
    return phase_grid(BASE, AXES)


def test_cells_by_hand():
    """dx = dy = 2, a shift of rank 1, n large: FFT has 4 sigma^2 / (n - 3), and rank 1 has 3 sigma^2 / n."""
    base = Problem(n=1000, dx=2, dy=2, spectrum=(3.0,), noise_std=1.0)
    found = phase_grid(base, {"n": [10**5, 10**6], "noise_std": [0.5, 1.0]})
    assert np.all(found.best_rank == 1)
    for n in (10**5, 10**6):
        for noise_std in (0.5, 1.0):
            cell = found.sel(n=n, noise_std=noise_std)
            assert float(cell.fft_risk) == pytest.approx(4 * noise_std**2 / (n - 3))
            assert float(cell.best_risk) == pytest.approx(3 * noise_std**2 / n, rel=1e-3)


def test_winners(phases):
    """Much noise: do not adapt. Some: LoRA at the rank of the shift. No mean at n = dx: rank 0."""
    names = phases.winner.attrs["flag_meanings"].split()
    winner = {
        key: names[int(phases.winner.sel(n=key[0], noise_std=key[1]))] for key in ((60, 1.0), (60, 30.0), (20, 1.0))
    }
    assert winner == {(60, 1.0): "lora", (60, 30.0): "pretrained", (20, 1.0): "pretrained"}
    assert int(phases.best_rank.sel(n=60, noise_std=1.0)) == 2
    assert np.isinf(phases.fft_risk.sel(n=20)).all()


def test_fft_wins_where_the_spectrum_is_flat_and_the_noise_weak():
    flat = phase_grid(BASE.replace(spectrum=(3.0,) * 16), {"noise_std": [0.1]})
    assert int(flat.winner[0]) == Winner.FFT.value
    assert int(flat.best_rank[0]) == 16


def test_cells_in_doubt_say_why():
    """Next to a threshold that the ridge hides nothing is known; near it the numbers are flagged, far from it not."""
    base = BASE.replace(ridge=0.1, noise_std=0.5, input_covariance=1 + 0.01 * np.arange(BASE.dx))
    found = phase_grid(base, {"n": [20, 28, 200]})
    assert found.winner.attrs["flag_meanings"].split()[int(found.winner[0])] == "unknown"
    assert np.isnan(found.best_risk[0])
    assert found.flagged.values.tolist() == [True, True, False]
    assert "expected a distance u" in str(found.note[0].values)
    assert "may be off by more than 1 %" in str(found.note[1].values)
    assert str(found.note[2].values) == ""


@pytest.mark.heavy
def test_an_executor_changes_nothing(phases):
    with local_processes(2) as executor:
        assert phase_grid(BASE, AXES, executor=executor).identical(phases)


def test_reserved_names_are_refused():
    with pytest.raises(InvalidInput, match="best_rank"):
        phase_grid(lambda best_rank: BASE, {"best_rank": [1]})
