# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     notebook_metadata_filter: jupytext,kernelspec,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The formula for LoRA's risk, step by step
#
# $$ \mathbb{E}\,\mathrm{risk}_r \approx \lVert \Delta \rVert_F^2 + T_1(x_r) - 2\, T_2(x_r), \qquad N(x_r) = r . $$
#
# This notebook builds $N$, $T_1$ and $T_2$ in plain NumPy, for isotropic inputs and noise and $n > d_x$. Each step is
# one formula, one cell and one check. Three kinds of step occur, and each section says which it is:
#
# - *exact*: an identity, for every draw;
# - *limit*: the leading term when $n$, $d_x$, $d_y$ are large and in proportion. We derive it as physicists do, by
#   leaving out one sample; that the neglected terms vanish is a theorem for the sample covariance of section 1 and is
#   not proved here for the pencil of section 4;
# - *observed*: simulation says how large the error is at finite size.
#
# [docs/theory.md](../docs/theory.md) has the general case.

# %%
import matplotlib.pyplot as plt
import numpy as np

from linreg_lora import Problem, monte_carlo
from linreg_lora.estimators import fit_lora
from linreg_lora.figures import style
from linreg_lora.theory import fft_functionals, fft_risk, lora_equivalent

rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. One scalar: the sample covariance
#
# *Limit.* Let $S = X X^\top$ with $n$ columns $x_s \sim N(0, I)$ in $\mathbb{R}^d$, and $Q(z) = (S - z)^{-1}$. Write
# $Q_s$ for the resolvent without sample $s$. Sherman and Morrison give $Q x_s = Q_s x_s / (1 + x_s^\top Q_s x_s)$. As
# $x_s$ is independent of $Q_s$, the number $x_s^\top Q_s x_s$ has mean $\operatorname{Tr} Q_s$ and hardly fluctuates;
# and one sample more or less hardly changes a trace. So replace it by $t = \operatorname{Tr} Q$. The mean of
# $I = Q\,(S - z) = \sum_s Q x_s x_s^\top - z Q$ becomes
#
# $$ \mathbb{E}\, Q \approx \Bigl( -z + \frac{n}{1 + t} \Bigr)^{-1} I, \qquad t = \frac{d}{-z + n / (1 + t)} . $$
#
# One scalar equation: the Marchenko-Pastur law. Damped iteration from $z = \infty$, where $t = 0$, solves it off the
# real axis.

# %%
n, d = 60, 30


def marchenko_pastur(z):
    """t = Tr Q(z), from the fixed-point equation."""
    t = np.zeros_like(z)
    for _ in range(2000):
        t = (t + d / (-z + n / (1 + t))) / 2
    return t


z = np.array([60 + 20j])
draws = np.stack([np.linalg.eigvalsh(x @ x.T) for x in rng.standard_normal((400, d, n))])
mean = np.mean(np.sum(1 / (draws - z), axis=1))
t = marchenko_pastur(z)[0]
print(f"Tr Q: equation {t:.4f}, mean of 400 draws {mean:.4f}, relative difference {abs(mean / t - 1):.1e}")
assert abs(mean / t - 1) < 1 / d  # an equivalence band, not a null test: the limit is off by order 1/d

# %% [markdown]
# The trace has a pole at each eigenvalue, so just above the real axis $\operatorname{Im} t / \pi$ is their density.

# %%
axis, bins = np.linspace(0.5, 190, 400), np.linspace(0, 190, 51)
density = marchenko_pastur(axis + 0.01j).imag / np.pi

with style.applied():
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 2.4), layout="constrained")
    axes.hist(draws.ravel(), bins, weights=np.full(draws.size, 1 / 400 / bins[1]), color="0.8", label="400 draws")
    axes.plot(axis, density, color="black", label=r"Im $t$ / $\pi$")
    axes.set(xlabel="eigenvalue of $XX^T$", ylabel="eigenvalues per unit", xlim=(0, 190))
    axes.legend()
    plt.show()
assert (
    abs(np.sum(density) * (axis[1] - axis[0]) / d - 1) < 0.01
)  # all d eigenvalues, to the error of a sum on this grid

# %% [markdown]
# ## 2. Counting by a contour
#
# *Exact.* LoRA keeps the eigenvectors above a cut $x$, so we need sums over the eigenvalues above $x$. Let $g$ have
# simple poles there, as $\operatorname{Tr} Q = \sum_i 1 / (\lambda_i - z)$ has. A circle through $x$ and a point right
# of the spectrum collects the residues. As $g(\bar z) = \overline{g(z)}$, its upper half suffices:
#
# $$ \mathrm{value}(x) = -\frac{1}{2 \pi i} \oint g\, dz =
# \frac1\pi \operatorname{Im} \int_{x\, \to\, \text{right, above}} g\, dz . $$
#
# The integrand is rough only where the circle crosses the spectrum, at $x$. Gauss-Legendre nodes in $\tau \in (0, 1)$
# with angle $\pi (1 - \tau^3)$ cluster there.

# %%
nodes, gauss = np.polynomial.legendre.leggauss(48)
tau = (nodes + 1) / 2


def contour(x, right):
    """Nodes z on the upper half circle from x to `right`, and weights of dz; x may be many cuts."""
    x = np.asarray(x)[..., None]
    radius, turn = (right - x) / 2, np.exp(1j * np.pi * (1 - tau**3))
    return x + radius + radius * turn, (gauss / 2) * (-3j * np.pi * tau**2) * radius * turn


def value(weights, g):
    """The contour integrals of g (..., nodes, functions)."""
    return np.einsum("...i,...ij->...j", weights, g).imag / np.pi


one = draws[0]
x = (one[12] + one[13]) / 2
z, weights = contour(x, 300.0)
g = np.stack([np.sum(1 / (one - z[:, None]), axis=1), marchenko_pastur(z)], axis=1)
by_contour, by_equation = value(weights, g)
print(
    f"above x = {x:.1f}: {np.sum(one > x)} eigenvalues, by contour {by_contour:.9f}, by the equation {by_equation:.3f}"
)
assert abs(by_contour - np.sum(one > x)) < 1e-6  # the quadrature error, for a cut midway between two eigenvalues
assert abs(by_equation - np.mean(np.sum(draws > x, axis=1))) < 1 / 2  # the limit: order 1 in a count of order d

# %% [markdown]
# ## 3. LoRA's risk as three traces of one inverse
#
# *Exact.* Now the problem itself: $R = \Delta X + E$ are the residuals of the pretrained map,
# $D = R X^\top (X X^\top)^{-1}$ is FFT and $F = D X$ its fit. LoRA of rank $r$ is $h D$, where $h$ projects on the top
# $r$ eigenvectors of $F F^\top$. With $Q = (F F^\top - z)^{-1}$ the block matrix
#
# $$ M(z) = \begin{pmatrix} X X^\top & X R^\top \\ R X^\top & z \end{pmatrix} \quad\text{has}\quad
# M^{-1} = \begin{pmatrix} (X X^\top)^{-1} - D^\top Q D & D^\top Q \\ Q D & -Q \end{pmatrix}, $$
#
# because the Schur complement of its first block is $z - F F^\top$. Three traces of it integrate to what the risk is
# made of:
#
# | value | meaning | $g$ |
# |---|---|---|
# | $N = \operatorname{Tr} h$ | directions kept | $-\operatorname{Tr} (M^{-1})_{11}$ |
# | $T_1 = \lVert h D \rVert_F^2$ | energy of the update | $-\operatorname{Tr} (M^{-1})_{00}$ |
# | $T_2 = \operatorname{Tr} h D \Delta^\top$ | overlap with the shift | $\operatorname{Tr} \Delta\, (M^{-1})_{01}$ |
#
# Blocks are numbered 0 (inputs) and 1 (outputs). Then
# $\lVert h D - \Delta \rVert_F^2 = \lVert \Delta \rVert_F^2 + T_1 - 2 T_2$. We check it on one draw, against the
# package's LoRA.

# %%
problem = Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
n, dx, dy, sigma = problem.n, problem.dx, problem.dy, problem.noise_std
s, delta = np.array(problem.spectrum), problem.shift


def block_matrix(z, inputs, residuals):
    """M(z) of one draw, one matrix for each z."""
    stacked = np.concatenate([inputs, residuals])
    m = np.array(np.broadcast_to(stacked @ stacked.T, (len(z), dx + dy, dx + dy)), complex)
    m[:, dx:, dx:] = z[:, None, None] * np.eye(dy)
    return m


def draw():
    inputs = rng.standard_normal((dx, n))
    return inputs, delta @ inputs + sigma * rng.standard_normal((dy, n))


def traces_of_draw(z, inputs, residuals):
    """The integrands of N, T1 and T2."""
    inverse = np.linalg.inv(block_matrix(z, inputs, residuals))
    kept = -np.trace(inverse[:, dx:, dx:], axis1=1, axis2=2)
    energy = -np.trace(inverse[:, :dx, :dx], axis1=1, axis2=2)
    overlap = np.einsum("ij,zji->z", delta, inverse[:, :dx, dx:])
    return np.stack([kept, energy, overlap], axis=1)


inputs, residuals = draw()
fit = residuals @ np.linalg.pinv(inputs) @ inputs
eigenvalues = np.linalg.eigvalsh(fit @ fit.T)[::-1]
right = 1.6 * (s[0] * (np.sqrt(n) + np.sqrt(dx)) + sigma * (np.sqrt(n) + np.sqrt(dy))) ** 2  # above the spectrum
for rank in (1, 2, 3, 5):
    z, weights = contour((eigenvalues[rank - 1] + eigenvalues[rank]) / 2, right)
    kept, energy, overlap = value(weights, traces_of_draw(z, inputs, residuals))
    by_contour = np.sum(s**2) + energy - 2 * overlap
    by_definition = np.sum((fit_lora(inputs, residuals, rank=rank) - delta) ** 2)
    print(f"rank {rank}: N = {kept:.7f}, risk by contour {by_contour:.7f}, by definition {by_definition:.7f}")
    assert abs(by_contour - by_definition) < 1e-5 * by_definition  # quadrature, worst where the gap is narrow

# %% [markdown]
# Up to here nothing is approximate, but $M$ is random. Next, the mean of $M^{-1}$.
#
# ## 4. The same argument, with a 2 x 2 matrix
#
# *Limit.* A column of data is $h_s = (x_s, R_s) \sim N(0, V)$, with $V_{00} = I$, $V_{10} = \Delta = V_{01}^\top$,
# $V_{11} = \Delta \Delta^\top + \sigma^2 I$. Write $U_s$ for the matrix with the two columns $(x_s, 0)$ and $(0, R_s)$.
# Each sample adds an update of rank two:
#
# $$ M = C + \sum_s U_s K U_s^\top, \qquad C = \begin{pmatrix} 0 & 0 \\ 0 & z \end{pmatrix}, \qquad
# K = \begin{pmatrix} 1 & 1 \\ 1 & 0 \end{pmatrix},
# \qquad L = K^{-1} = \begin{pmatrix} 0 & 1 \\ 1 & -1 \end{pmatrix} . $$
#
# Woodbury takes the place of Sherman and Morrison, $M^{-1} U_s K = M_s^{-1} U_s\, (L + \hat t)^{-1}$ with
# $\hat t = U_s^\top M_s^{-1} U_s$, and the $2 \times 2$ matrix $\hat t$ is close to its mean. Repeat section 1 word for
# word. With $G \approx \mathbb{E} M^{-1}$ and $(w \circ V)_{kl} = w_{kl} V_{kl}$:
#
# $$ G = \left[ C + n\, w \circ V \right]^{-1}, \qquad w = (L + t)^{-1}, \qquad
# t_{kl} = \operatorname{Tr} V_{lk} G_{kl} . $$
#
# For section 1 put $L = 1$, $V = I$, $C = -z$. Three complex numbers are unknown: $w_{00}$, $w_{01} = w_{10}$,
# $w_{11}$.
#
# **It falls apart into 2 x 2 blocks.** Rotate inputs and outputs so that $\Delta$ is diagonal. Its singular value $s_j$
# couples one input to one output, with $V_j = \begin{pmatrix} 1 & s_j \\ s_j & s_j^2 + \sigma^2 \end{pmatrix}$. The
# other $d_x - r^*$ inputs and $d_y - r^*$ outputs are alone, with $G = 1 / (n w_{00})$ and
# $G = 1 / (z + n \sigma^2 w_{11})$. That is all of it:

# %%
L = np.array([[0, 1], [1, -1]])
V = np.moveaxis(np.array([[s**0, s], [s, s**2 + sigma**2]]), 2, 0)  # one 2 x 2 block for each singular value


def inverse(m):
    """Inverses of many 2 x 2 matrices."""
    (a, b), (c, d) = np.moveaxis(m, (-2, -1), (0, 1))
    return np.moveaxis(np.array([[d, -b], [-c, a]]) / (a * d - b * c), (0, 1), (-2, -1))


def resolvents(z, w):
    """G at each z: the blocks of the singular values, a lone input, a lone output."""
    c = z[..., None, None, None] * np.diag([0, 1])
    return inverse(c + n * w[..., None, :, :] * V), 1 / (n * w[..., 0, 0]), 1 / (z + n * sigma**2 * w[..., 1, 1])


def overlaps(z, w):
    """t_kl = Tr V_lk G_kl."""
    blocks, lone_input, lone_output = resolvents(z, w)
    t = np.sum(V * blocks, axis=-3)
    t[..., 0, 0] += (dx - len(s)) * lone_input
    t[..., 1, 1] += (dy - len(s)) * sigma**2 * lone_output
    return t


def excess(z, w):
    """What a solution makes zero."""
    return inverse(L + overlaps(z, w)) - w


# %% [markdown]
# **Which solution?** The equation has several. For $\operatorname{Im} z > 0$ we have $\operatorname{Im} M \ge 0$, so
# $\operatorname{Im} M^{-1} \le 0$, so $\operatorname{Im} t \le 0$ and $\operatorname{Im} w \ge 0$ as $2 \times 2$
# matrices. *Exact:* only one solution has that sign (Earle and Hamilton; the map takes the set into itself, and applied
# twice strictly into its interior; $w_{00} = w_{01} = 0$ on its border is excluded). So the sign certifies whatever a
# solver returns.
#
# Damped iteration from $z = \infty$ ($t = 0$, $w = K$) stays on this branch but is slow beside the axis; Newton's
# method in the three unknowns, with slopes by differences, is fast but may leave it. So: damped steps until Newton ends
# on the right branch.

# %%
UNKNOWNS = np.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]])


def pack(m):
    return m[..., [0, 0, 1], [0, 1, 1]]


def newton(z, w):
    for _ in range(8):
        now = excess(z, w)
        slopes = np.stack([pack(excess(z, w + 1e-7 * e) - now) / 1e-7 for e in UNKNOWNS], axis=-1)
        w = w - np.einsum("...i,ijk->...jk", np.linalg.solve(slopes, pack(now)[..., None])[..., 0], UNKNOWNS)
    return w


def certified(z, w):
    """Whether w solves the equation and Im w >= 0, up to rounding."""
    residual = np.max(np.abs(excess(z, w)), axis=(-2, -1))
    a, b, c = np.moveaxis(pack(w.imag), -1, 0)
    smallest = (a + c) / 2 - np.hypot((a - c) / 2, b)  # eigenvalue of [[a, b], [b, c]]
    return (residual < 1e-11) & (smallest > -1e-12)


def solve(z):
    """w at each z above the real axis."""
    flat, left = z.ravel(), np.arange(z.size)
    solution = np.full((z.size, 2, 2), np.nan, complex)
    w = np.broadcast_to(inverse(L), (z.size, 2, 2)).astype(complex)
    for _ in range(100):
        for _ in range(100):
            w = w + excess(flat[left], w) / 2
        found = newton(flat[left], w)
        good = certified(flat[left], found)
        solution[left[good]] = found[good]
        left, w = left[~good], w[~good]
        if not left.size:
            break
    return solution.reshape(*z.shape, 2, 2)


cuts = np.geomspace(0.5, 0.9 * right, 160)
z, weights = contour(cuts, right)  # one row of nodes for each cut
print("nodes:", z.size, "certified:", np.sum(certified(z, solve(z))))
assert np.all(certified(z, solve(z)))

# %% [markdown]
# The three integrands of section 3 are then one trace and two entries of $t$: $-\operatorname{Tr} G_{11}$, $-t_{00}$
# and $t_{01}$.

# %%
INTEGRANDS = ("N", "T1", "T2")


def traces(z):
    w = solve(z)
    t = overlaps(z, w)
    blocks, _, lone_output = resolvents(z, w)
    kept = np.sum(blocks[..., 1, 1], axis=-1) + (dy - len(s)) * lone_output
    return np.stack([-kept, -t[..., 0, 0], t[..., 0, 1]], axis=-1)


z = np.array([60 + 30j, 200 + 100j])
simulated = np.mean([traces_of_draw(z, *draw()) for _ in range(400)], axis=0)
for name, equation, mean in zip(INTEGRANDS, traces(z).T, simulated.T, strict=True):
    print(f"integrand of {name:2s}: equation {np.round(equation, 4)}, mean of 400 draws {np.round(mean, 4)}")
    assert np.all(np.abs(mean / equation - 1) < 2 / (n - dx))  # an equivalence band: off by order 1/(n - dx)

# %% [markdown]
# ## 5. From the equation to a rank
#
# Move the cut $x$ and follow $(N, T_1, T_2)$: that draws the risk against a *continuous* number of kept directions. The
# risk of rank $r$ is read where $N(x_r) = r$. Above the bulk $N$ has steps, one for each singular value strong enough
# to stand out of the noise. On a step any cut gives the same numbers.

# %%
ranks = np.array([1, 2, 3, 4, 6, 8, 10, 13, 16])


def at_cuts(x):
    """N and the risk at each cut."""
    z, weights = contour(x, right)
    kept, energy, overlap = value(weights, traces(z)).T
    return kept, np.sum(s**2) + energy - 2 * overlap


def risk_at_ranks(ranks):
    """The risk where N(x) = r, for all ranks at once by bisection in log x: N decreases."""
    low, high = np.full(len(ranks), np.log(0.02)), np.full(len(ranks), np.log(0.9 * right))
    for _ in range(34):
        middle = (low + high) / 2
        more = at_cuts(np.exp(middle))[0] > ranks
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return at_cuts(np.exp(low))[1]


kept, risk = at_cuts(cuts)
spectra = []
for _ in range(200):
    inputs, residuals = draw()
    fit = residuals @ np.linalg.pinv(inputs) @ inputs
    spectra.append(np.linalg.eigvalsh(fit @ fit.T))
counted = np.mean(np.sum(np.array(spectra)[:, :, None] > cuts, axis=1), axis=0)
with style.applied():
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 2.6), layout="constrained")
    axes.plot(cuts, kept, color="black", label="equation, $N(x)$")
    axes.plot(
        cuts, counted, color=style.COMPARED[2].color, linestyle=style.COMPARED[1].linestyle, label="mean of 200 draws"
    )
    axes.set(xscale="log", xlabel="cut $x$", ylabel="eigenvalues of $FF^T$ above")
    axes.set(xlim=(20, right), ylim=(0, 10), yticks=[0, 1, 2, 3, 5, 10])
    axes.legend()
    plt.show()
assert np.max(np.abs(kept - counted)) < 1  # spikes fluctuate: the mean of the draws smears the steps

# %%
ours = risk_at_ranks(ranks)
theirs = lora_equivalent(problem, ranks)
print("rank      ", "".join(f"{r:10d}" for r in ranks))
print("here      ", "".join(f"{v:10.6f}" for v in ours))
print("package   ", "".join(f"{v:10.6f}" for v in theirs.raw))
print(f"largest relative difference {np.max(np.abs(ours / theirs.raw - 1)):.1e}")
assert np.allclose(ours, theirs.raw, rtol=1e-6)  # 48 nodes give the integrals to about 1e-8

# %% [markdown]
# ## 6. Against simulation
#
# *Observed.* `raw` is the formula above. `corrected` adds the next order in the inverse of the dimension (section 7).
# With enough draws the error of a limit always becomes visible, so a large $z$ refutes nothing here; what counts is how
# small the error is.

# %%
simulated = monte_carlo(problem, trials=2000, seed=0)
mean, stderr = simulated.risk[ranks], simulated.stderr[ranks]
print("rank  simulated  stderr      raw  error      z   corrected  error      z")
for i, r in enumerate(ranks):
    words = [f"{r:4d} {mean[i]:10.4f} {stderr[i]:7.4f}"]
    for formula in (ours[i], theirs.risk[i]):
        words.append(f"{formula:9.4f} {100 * (formula / mean[i] - 1):5.1f} % {(formula - mean[i]) / stderr[i]:6.1f}  ")
    print(" ".join(words))

# %%
with style.applied():
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.2), layout="constrained")
    axes.plot(kept, risk, color="black", label="formula, by cut")
    axes.plot(ranks, theirs.risk, "+", markersize=10, color=style.COMPARED[2].color, label="corrected")
    axes.errorbar(
        ranks, mean, 3 * stderr, fmt="o", mfc="none", color=style.COMPARED[3].color, label="simulated, 3 s.e."
    )
    axes.set(xlabel="kept directions $N(x)$", ylabel="expected excess risk", xlim=(0, dy), xticks=range(0, dy + 1, 4))
    axes.legend(loc="lower right")
    plt.show()
z_critical = 5.0  # two-sided level 6e-7 for one comparison, 5e-6 for all nine
band = np.where(theirs.flagged, 0.02, 0.01)  # the package flags ranks where its correction may overshoot
assert np.all(np.abs(theirs.risk - mean) < band * mean + z_critical * stderr)
assert np.all(np.abs(ours - mean) < 2 / (n - dx) * mean + z_critical * stderr)  # of order 1/(n - dx)

# %% [markdown]
# ## 7. The order of the error
#
# One rank has an exact risk to compare with: at full rank LoRA is FFT, with
# $\mathbb{E}\,\mathrm{risk} = \sigma^2 d_y\, d_x / (n - d_x - 1)$. The contour around the whole spectrum gives
# $\sigma^2 d_y\, d_x / (n - d_x)$: the limit loses the $-1$.
#
# *Limit.* Where does the first error come from? In section 1 we took the mean of $Q x_s x_s^\top$ as if $\hat t$ were
# its mean. For real data a term with a transpose survives at relative order $1/n$. It is linear in the solution and
# costs one $4 \times 4$ system ([docs/theory.md, section 8](../docs/theory.md)); the package adds it. For FFT it gives
# the next term of $\frac{1}{m - 1} = \frac1m \bigl( 1 + \frac1m + \dots \bigr)$, $m = n - d_x$, and all of them when
# it is taken $\frac{m}{m - 1}$ times, as the package does at every rank.

# %%
print(" scale    exact FFT    raw error   with the next term   m / (m - 1) times")
errors = []
for scale in (1, 2, 4):
    larger = problem.replace(n=scale * n, dx=scale * dx, dy=scale * dy)
    exact, m = fft_risk(larger).risk, scale * (n - dx)
    around = fft_functionals(larger, correction=True)
    raw, correction = np.sum(s**2) + around.raw[0, 1] - 2 * around.raw[0, 2], (1, -2) @ around.correction[0, 1:3]
    next_term = raw + (m - 1) / m * correction
    errors.append([raw / exact - 1, next_term / exact - 1])
    print(
        f"{scale:6d} {exact:12.6f} {errors[-1][0]:12.2e} {errors[-1][1]:20.2e} {(raw + correction) / exact - 1:19.2e}"
    )
    assert np.isclose(raw, sigma**2 * larger.dx * larger.dy / m, rtol=1e-6)
    assert np.isclose(errors[-1][1], -1 / m**2, rtol=1e-3)
    assert np.isclose(raw + correction, exact, rtol=1e-9)
ratio = np.array(errors)[:-1] / np.array(errors)[1:]
print("error of one line over that of the next:", np.round(ratio, 3).tolist())
assert np.allclose(ratio, [2, 4], rtol=1e-3)  # doubling the dimensions halves the one and quarters the other

# %% [markdown]
# ## What is proved, and what is not
#
# | step | status |
# |---|---|
# | contour, block inverse, risk from three traces (2, 3) | exact, every draw |
# | Marchenko-Pastur law (1) | limit; a theorem |
# | pencil equation (4) | limit; derived by leaving one sample out, not proved in full here |
# | one solution with $\operatorname{Im} w \ge 0$ (4) | exact |
# | the cut at $N(x_r) = r$ (5) | limit; takes eigenvalues as fixed, weakest where spikes meet or touch the bulk |
# | first correction (7) | limit; with m / (m - 1) exact for FFT, *observed* elsewhere |
#
# ## Exercises
#
# 1. Set `noise_std=6`. How many steps of $N$ are left? Compare with the detection threshold
#    $s^4 n^2 / \sigma^4 > n_{\min} d_y$, $n_{\min} = \min(n, d_x)$. Which rank wins?
# 2. Which line changes for a ridge penalty $\eta$? (Look at $C$.) Change it, and compare with
#    `Problem(..., ridge=5.0)`. Lone inputs feel it too.
# 3. Replace $n$ by $n - 1$ in `resolvents`. Why does that help at full rank, and does it at rank 3?
