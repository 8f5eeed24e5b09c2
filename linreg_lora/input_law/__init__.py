"""The law of the inputs and of the noise's scale: Gaussian, or one of a few others.

    x_s = sqrt(w_s) Sigma^{1/2} z_s,      eps_s = sqrt(v_s) Sigma_eps^{1/2} g_s

| law                 | written             | samples                                                              |
|---------------------|---------------------|----------------------------------------------------------------------|
| `Gaussian`          | gaussian            | w = v = 1, z Gaussian                                                |
| `MultivariateT`     | t:DOF               | w = (DOF - 2) / chi2_DOF: x has a multivariate t law                 |
| `ScaleMixture`      | two-point:LOW:SHARE | (w, v) of a finite law for each sample: elliptical, heteroscedastic  |
| `SampleWeights`     | in files, in Python | (w_s, v_s) given for each sample                                     |
| `CorrelatedSamples` | ar1:RHO             | rows of X are AR(1) along the samples: weights are eigenvalues       |
| `IidEntries`        | rademacher, ...     | w = v = 1, entries of z iid with mean 0 and variance 1               |

Every law keeps Sigma the covariance of an input and Sigma_eps that of the noise: w and v have mean 1, over the law, or
over the given samples. So the risk is in the metric of Sigma, whatever the law.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
