"""LoRA against full fine-tuning in linear regression: exact risks, simulation, and checked claims.

Importing this package sets the numerical environment (`linreg_lora.runtime`) and imports neither JAX nor anything
else that is slow; names are loaded when they are first used.
"""

import lazy_loader

from linreg_lora import runtime

__version__ = "0.1.0"

runtime.configure()

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["claims", "estimators", "figures", "sampling", "spectra", "theory"],
    submod_attrs={
        "errors": ["InvalidInput", "LinregLoraError", "NumericalFailure"],
        "simulation.curve": ["Risks", "draw_risks", "monte_carlo"],
        "problem": ["Moments", "Problem", "Regime"],
        "risk_curve": ["RiskCurve"],
        "simulation.perturbed_inputs": ["simulate_rise"],
        "sweeps.executors": ["local_processes"],
        "sweeps.phase": ["phase_grid"],
        "sweeps.curves": ["sweep"],
    },
)
