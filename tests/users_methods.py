"""Methods as users write them, outside of the package: nothing in it knows of these."""

import dataclasses

import jax.numpy as jnp
import numpy as np

import linreg_lora as ll


@ll.methods.register_method("first-inputs")
@dataclasses.dataclass(frozen=True)
class FirstInputs(ll.methods.Method):
    """Trains the first `count` columns of D: FFT on as many inputs. What the others add to these is noise to it."""

    count: int

    @property
    def name(self):
        return f"first-inputs:{self.count}"

    def parameters(self, problem):
        return self.count * problem.dy

    def fit(self, inputs, outputs, pretrained=None, ridge=None):
        residual = outputs if pretrained is None else outputs - pretrained @ inputs
        features = inputs[: self.count]
        gram = features @ features.T + (0.0 if ridge is None else ridge) * jnp.eye(self.count)
        trained = jnp.linalg.solve(gram, features @ residual.T).T
        return ll.methods.Update.linear(jnp.pad(trained, ((0, 0), (0, inputs.shape[0] - self.count))))

    def reduce(self, problem):
        seen, both = problem.sigma[: self.count, : self.count], problem.shift @ problem.sigma
        shift = np.linalg.solve(seen, both[:, : self.count].T).T
        missed = both @ problem.shift.T - shift @ both[:, : self.count].T
        reduced = ll.Problem(
            n=problem.n, dx=self.count, dy=problem.dy, noise_std=1.0, noise_covariance=problem.sigma_eps + missed,
            input_covariance=seen, task_shift=shift, ridge=problem.ridge,
        )  # fmt: skip
        return ll.methods.Reduction(reduced, float(missed.trace()))


@dataclasses.dataclass(frozen=True)
class OneScale(ll.methods.Method):
    """D = c A0, one number; theory knows nothing of it."""

    name = "one-scale"

    def parameters(self, problem):
        return 1

    def fit(self, inputs, outputs, pretrained=None, ridge=None):
        known = pretrained @ inputs
        scale = jnp.sum((outputs - known) * known) / jnp.sum(known**2)
        return ll.methods.Update.linear(scale * pretrained)
