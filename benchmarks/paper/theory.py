"""The SCI paper's theory, checked: what eq. 5 says of three-layer sine networks, and what fits make of it.

    f(v) = a . sin(W sin(Omega v + phi) + b) + c          eq. 6, with the biases that real networks have

(a) exact: the Bessel products of eq. 5, folded onto a periodic grid, are the discrete Fourier coefficients of f.
(b) magnitude: the share of energy at the input frequencies against the size of W, for random and for fitted networks.
(c) the encoder's own first fits on blocks of real volumes, energy by order |t_1| + ... + |t_K| (1: input frequencies).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import jv

from benchmarks.harness.data import crop, one_of_each_kind
from benchmarks.harness.environment import environment
from inr_codec import metrics
from inr_codec.engines import FitTask, Schedule, fit_blocks
from inr_codec.networks.shape import funnel_shape
from inr_codec.networks.start import StartSequence, initial_parameters

OMEGA = np.array([3, 7, 12, 18, 25, 33, 42, 52])[:, None]
HIDDEN, SAMPLES = 8, 256
SIGMAS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)
ORDERS = 40
BLOCK, WIDTH, W0 = 32, 12, 15.0


@dataclass(frozen=True)
class SineNetwork:
    """Three layers: `omega` (K, axes), `phases` (K,), `inner` W (H, K), `biases` (H,), `outer` a (H,), `constant`."""

    omega: NDArray
    phases: NDArray
    inner: NDArray
    biases: NDArray
    outer: NDArray
    constant: float = 0.0

    def __call__(self, points: NDArray) -> NDArray:
        """Values at points (n, axes), coordinates in radians."""
        first = np.sin(points @ self.omega.T + self.phases)
        return np.sin(first @ self.inner.T + self.biases) @ self.outer + self.constant


def periodic_grid(shape: tuple[int, ...]) -> NDArray:
    """Points (n, axes) of one period, row by row."""
    axes = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    return np.stack([axis.reshape(-1) for axis in axes], axis=-1)


def bessel_spectrum(network: SineNetwork, shape: tuple[int, ...]) -> NDArray:
    """The Fourier coefficients (numpy's fftn / n) of the network on a periodic grid, from eq. 5 alone; integer omega.

    sin(b + sum_k W_k sin(theta_k)) = Im e^(jb) prod_k sum_t J_t(W_k) e^(j t theta_k): a product over k of sums in
    which t shifts the spectrum by t omega_k; what lies beyond the grid's frequencies folds back, as sampling does.
    """
    total = np.zeros(shape, complex)
    axes = tuple(range(len(shape)))
    for weights, bias, outer in zip(network.inner, network.biases, network.outer):
        spectrum = np.zeros(shape, complex)
        spectrum[(0,) * len(shape)] = np.exp(1j * bias)
        for weight, omega, phase in zip(weights, network.omega, network.phases):
            last = int(abs(weight)) + 24
            spectrum = sum(
                jv(t, weight) * np.exp(1j * t * phase) * np.roll(spectrum, tuple(t * omega), axes)
                for t in range(-last, last + 1)
            )
        total += outer * spectrum
    mirrored = np.roll(np.flip(total, axes), 1, axes).conj()
    coefficients = (total - mirrored) / 2j
    coefficients[(0,) * len(shape)] += network.constant
    return coefficients


def energy_by_order(network: SineNetwork, points: NDArray) -> tuple[NDArray, float]:
    """Shares of the mean square of eq. 5's terms by |t_1| + ... + |t_K|, 0 to ORDERS; the largest |f - their sum|."""
    theta = points @ network.omega.T + network.phases
    parts = np.zeros((ORDERS + 1, len(points)))
    parts[0] += network.constant
    n = np.arange(1, ORDERS + 1)[:, None]
    for weights, bias, outer in zip(network.inner, network.biases, network.outer):
        product = np.zeros((ORDERS + 1, len(points)), complex)
        product[0] = np.exp(1j * bias)
        for weight, angle in zip(weights, theta.T):
            factor = jv(n, weight) * (np.exp(1j * n * angle) + (-1.0) ** n * np.exp(-1j * n * angle))
            longer = product * jv(0, weight)
            for order in range(1, ORDERS + 1):
                if np.abs(factor[order - 1]).max() < 1e-12:
                    break
                longer[order:] += factor[order - 1] * product[:-order]
            product = longer
        parts += outer * product.imag
    missed = float(np.abs(network(points) - parts.sum(axis=0)).max())
    parts[0] -= parts[0].mean()
    energies = (parts**2).mean(axis=1)
    return energies / energies.sum(), missed


def share_at_inputs(coefficients: NDArray, omega: NDArray) -> float:
    """Share of a periodic line's energy (without its mean) at the input frequencies themselves."""
    energy = np.abs(coefficients) ** 2
    inputs = {int(value) % energy.size for row in omega for value in (row[0], -row[0])}
    return float(energy[sorted(inputs)].sum() / energy[1:].sum())


def random_network(sigma: float, rng: np.random.Generator) -> SineNetwork:
    """Input frequencies OMEGA, normal weights of that standard deviation, no biases: eq. 5 as it is written."""
    k = len(OMEGA)
    inner, outer = sigma * rng.standard_normal((HIDDEN, k)), rng.standard_normal(HIDDEN)
    return SineNetwork(OMEGA, np.zeros(k), inner, np.zeros(HIDDEN), outer)


def signals(rng: np.random.Generator) -> dict[str, NDArray]:
    """Frequencies of lines of SAMPLES samples: equal amplitudes, random phases, variance 1."""
    omega = OMEGA[:, 0]
    combined = [omega[0] + omega[1] + omega[4], omega[5] - omega[2] + omega[1], omega[7] + omega[3] - omega[0]]
    frequencies = {
        "four input frequencies": omega[[0, 2, 4, 6]],
        "all eight input frequencies": omega,
        "three sums of three of them": np.array(combined),
        "32 neighbours, 1 to 63": np.arange(1, 64, 2),
        "all, 1 to 127": np.arange(1, SAMPLES // 2),
    }
    x = periodic_grid((SAMPLES,))[:, 0]
    lines = {}
    for name, chosen in frequencies.items():
        line = np.cos(np.outer(x, chosen) + rng.uniform(0, 2 * np.pi, len(chosen))).sum(axis=1)
        lines[name] = line / line.std()
    return lines


def fit_line(line: NDArray, rng: np.random.Generator, steps: int) -> SineNetwork:
    """Least squares over everything but the input frequencies, from small weights (SIREN's bounds), by L-BFGS."""
    k, points = len(OMEGA), periodic_grid((SAMPLES,))
    bound = np.sqrt(6 / k)
    inner, outer = rng.uniform(-bound, bound, HIDDEN * k), rng.uniform(-bound, bound, HIDDEN)
    start = [rng.uniform(0, 2 * np.pi, k), inner, np.zeros(HIDDEN), outer]
    cuts = np.cumsum([part.size for part in start])[:-1]

    def unpack(flat: NDArray) -> SineNetwork:
        phases, inner, biases, outer = np.split(flat, cuts)
        return SineNetwork(OMEGA, phases, inner.reshape(HIDDEN, k), biases, outer)

    def loss(flat: NDArray) -> tuple[float, NDArray]:
        network = unpack(flat)
        angle = points @ OMEGA.T + network.phases
        first = np.sin(angle)
        second = first @ network.inner.T + network.biases
        error = np.sin(second) @ network.outer - line
        back = np.outer(error, network.outer) * np.cos(second) * (2 / SAMPLES)
        gradient = [
            ((back @ network.inner) * np.cos(angle)).sum(axis=0), (back.T @ first).reshape(-1), back.sum(axis=0),
            2 / SAMPLES * np.sin(second).T @ error,
        ]  # fmt: skip
        return float(np.mean(error**2)), np.concatenate(gradient)

    return unpack(minimize(loss, np.concatenate(start), jac=True, method="L-BFGS-B", options={"maxiter": steps}).x)


def fit_block(block: NDArray, steps: int) -> tuple[SineNetwork, float]:
    """The encoder's own fit with three layers on a block; PSNR (peak = range of the block)."""
    values = block.astype(np.float32)
    values = (values - values.mean()) / values.std()
    shape = funnel_shape(block.ndim, WIDTH, 3, 35)
    start = initial_parameters(shape, W0, StartSequence(0))
    task = FitTask(values.reshape(-1), block.shape, shape, W0, start, Schedule(steps, 256, 1.5e-3, "adam"), 0, None)
    flat = fit_blocks([task])[0].parameters.astype(float)
    tensors = [flat[part] for part in shape.tensors()]
    first, second = shape.widths[1], shape.widths[2]
    network = SineNetwork(
        W0 * tensors[0].reshape(first, -1), W0 * tensors[1], W0 * tensors[2].reshape(second, first), W0 * tensors[3],
        tensors[4], float(tensors[5][0]),
    )  # fmt: skip
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in block.shape), indexing="ij")
    decoded = network(np.stack([axis.reshape(-1) for axis in axes], axis=-1)).reshape(block.shape)
    return network, metrics.psnr(values, decoded)


def check_coefficients(rng: np.random.Generator) -> tuple[dict, NDArray, NDArray]:
    """(a): networks with biases on a line and on a plane; the coefficients of the line, transformed and from eq. 5."""
    checks, kept = {}, []
    for name, shape, k in (("line of 256", (256,), 8), ("plane of 32 x 24", (32, 24), 5)):
        omega = rng.integers(-9, 10, (k, len(shape)))
        inner, outer = rng.normal(0, 1.5, (6, k)), rng.standard_normal(6)
        network = SineNetwork(omega, rng.uniform(-3, 3, k), inner, rng.uniform(-3, 3, 6), outer, 0.3)
        measured = np.fft.fftn(network(periodic_grid(shape)).reshape(shape)) / np.prod(shape)
        predicted = bessel_spectrum(network, shape)
        largest = float(np.abs(measured).max())
        checks[name] = {"largest_coefficient": largest, "largest_difference": float(np.abs(measured - predicted).max())}
        kept.append((np.abs(measured).reshape(-1), np.abs(predicted).reshape(-1)))
    return checks, *kept[0]


def run(chunks: dict[str, NDArray], out: Path, *, full: bool, smoke: bool) -> None:
    """Write theory.json and theory.png."""
    rng = np.random.default_rng(0)
    checks, measured, predicted = check_coefficients(rng)
    sweep = []
    for sigma in SIGMAS:
        networks = [random_network(sigma, rng) for _ in range(10)]
        spectra = [np.fft.fft(network(periodic_grid((SAMPLES,)))) / SAMPLES for network in networks]
        foretold = [bessel_spectrum(network, (SAMPLES,)) for network in networks]
        means = [float(np.mean([share_at_inputs(s, OMEGA) for s in some])) for some in (spectra, foretold)]
        sweep.append({"sigma": sigma, "measured": round(means[0], 5), "predicted": round(means[1], 5)})
    lines = []
    for name, line in signals(rng).items():
        for seed in range(1 if smoke else 4):
            network = fit_line(line, np.random.default_rng(seed), 20 if smoke else 1000)
            fitted = network(periodic_grid((SAMPLES,)))
            orders, missed = energy_by_order(network, periodic_grid((SAMPLES,)))
            lines.append({
                "signal": name, "seed": seed, "psnr": round(metrics.psnr(line, fitted), 2),
                "signal_share": round(share_at_inputs(np.fft.fft(line), OMEGA), 5),
                "measured": round(share_at_inputs(np.fft.fft(fitted), OMEGA), 5),
                "predicted": round(share_at_inputs(bessel_spectrum(network, (SAMPLES,)), OMEGA), 5),
                "weights_rms": _rms(network), "orders": _short(orders), "missed": missed,
            })  # fmt: skip
    blocks = []
    for name in one_of_each_kind(list(chunks)):
        block = crop(chunks[name], (BLOCK,) * 3)
        network, psnr = fit_block(block, 100 if smoke else 10000)
        orders, missed = energy_by_order(network, rng.uniform(-1, 1, (500, 3)))
        blocks.append({
            "volume": name, "psnr": round(psnr, 2), "weights_rms": _rms(network),
            "orders": _short(orders), "missed": missed,
        })  # fmt: skip
    result = {"environment": environment(), "coefficients": checks, "sweep": sweep, "lines": lines, "blocks": blocks}
    (out / "theory.json").write_text(json.dumps(result, indent=1))
    _plot(out / "theory.png", measured, predicted, sweep, lines)


def _rms(network: SineNetwork) -> float:
    return round(float(np.sqrt(np.mean(network.inner**2))), 4)


def _short(orders: NDArray) -> list[float]:
    """Shares of the orders 1 to 6, and of those above together."""
    return [round(float(value), 5) for value in (*orders[1:7], orders[7:].sum())]


def _plot(path: Path, measured: NDArray, predicted: NDArray, sweep: list[dict], lines: list[dict]) -> None:
    from inr_codec.picture import new_figure

    figure = new_figure("Three-layer sine networks: Bessel products (eq. 5) and measured spectra")
    figure.set_size_inches(11, 4)
    left, right = figure.subplots(1, 2)
    left.loglog(predicted, measured, "k.", ms=4)
    left.set_xlabel("|coefficient|, product of Bessel functions")
    left.set_ylabel("|coefficient|, FFT of the network's output")
    sigma = [row["sigma"] for row in sweep]
    right.plot(sigma, [row["measured"] for row in sweep], "k-", lw=2, label="random weights, FFT")
    right.plot(sigma, [row["predicted"] for row in sweep], "o", color="tab:orange", label="random weights, eq. 5")
    colours = ("tab:blue", "tab:green", "tab:red", "tab:purple", "tab:brown")
    for colour, name in zip(colours, dict.fromkeys(row["signal"] for row in lines)):
        rows = [row for row in lines if row["signal"] == name]
        points = [row["weights_rms"] for row in rows], [row["measured"] for row in rows]
        right.plot(*points, "x", color=colour, label=f"fitted to {name}")
    right.set_xlabel("root mean square of the second layer's weights")
    right.set_ylabel("share of energy at the input frequencies")
    right.set_ylim(0, 1.02)
    right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    for panel in (left, right):
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=70, metadata={"Software": None})
