"""The laws of training noise against their closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from nvmc.training.gaussians import Law, Mirrored, RightCensored, RightTruncated

DRAWS = 1_000_000

LAWS: dict[str, Law] = {}
for th in (0.0, 0.5, 2.0):
    LAWS[f"rc {th}"] = RightCensored(th)
    LAWS[f"rt {th}"] = RightTruncated(th)
    LAWS[f"lc {th}"] = Mirrored(RightCensored(th))
    LAWS[f"lt {th}"] = Mirrored(RightTruncated(th))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(law: Law, count: int = DRAWS, seed: int = 0) -> np.ndarray:
    return law.sample((count,), generator(seed)).numpy().astype(np.float64)


@pytest.mark.parametrize("name", LAWS)
def test_moments_are_the_closed_forms(name: str) -> None:
    law = LAWS[name]
    values = drawn(law)
    # Standard errors: of a mean sqrt(var / n); of a variance sqrt((m4 - var^2) / n), m4 <= 3 as
    # for the whole Gaussian (a cut tail only lowers it, and centring too). Five of them: a false
    # alarm in 1.7 million; the seed is fixed anyhow.
    assert values.mean() == pytest.approx(law.mean, abs=5 * math.sqrt(law.variance / DRAWS))
    assert values.var() == pytest.approx(law.variance, abs=5 * math.sqrt(3 / DRAWS))


@pytest.mark.parametrize("th", [0.0, 0.3, 1.0, 2.0, 4.0])
def test_closed_forms_are_the_integrals(th: float) -> None:
    """Against scipy: truncated as such, censored as a mixture of its atom and a truncated one."""
    truncated = stats.truncnorm(-np.inf, th)
    atom = stats.norm.sf(th)
    first = (1 - atom) * truncated.mean() + atom * th
    second = (1 - atom) * (truncated.var() + truncated.mean() ** 2) + atom * th**2
    assert RightTruncated(th).mean == pytest.approx(truncated.mean(), abs=1e-12)
    assert RightTruncated(th).variance == pytest.approx(truncated.var(), abs=1e-12)
    assert RightCensored(th).mean == pytest.approx(first, abs=1e-12)
    assert RightCensored(th).variance == pytest.approx(second - first**2, abs=1e-12)


def test_at_two_sigma_the_mean_is_small() -> None:
    """The figure that docs/methods/trice.md discusses."""
    assert RightCensored(2.0).mean == pytest.approx(-0.00849, abs=1e-5)
    assert RightCensored(2.0).variance == pytest.approx(0.9602, abs=1e-4)


@pytest.mark.parametrize("th", [0.5, 2.0])
def test_the_censored_tail_is_an_atom_at_the_threshold(th: float) -> None:
    values = drawn(RightCensored(th))
    share = stats.norm.sf(th)
    assert values.max() == np.float32(th)
    # A binomial share's standard error is sqrt(p q / n).
    assert np.mean(values == np.float32(th)) == pytest.approx(
        share, abs=5 * math.sqrt(share * (1 - share) / DRAWS)
    )


@pytest.mark.parametrize("name", ["rc 2.0", "rt 2.0", "lc 2.0", "lt 2.0", "rt 0.0", "rc 0.5"])
def test_the_shape_away_from_the_atom(name: str) -> None:
    """Kolmogorov-Smirnov: a censored law is a truncated one away from its atom (Fig. 3)."""
    kind, th = name.split()
    values = drawn(LAWS[name])
    values = -values if kind[0] == "l" else values
    inside = values[values < np.float32(th)]
    assert stats.kstest(inside, stats.truncnorm(-np.inf, float(th)).cdf).pvalue > 1e-4


@pytest.mark.parametrize("th", [0.0, 2.0])
def test_truncated_noise_has_no_atom(th: float) -> None:
    values = drawn(RightTruncated(th))
    assert values.max() <= th
    # A continuous law hits one float32 about never; an atom would hold 2 % or 50 % of the draws.
    assert np.mean(values == np.float32(th)) < 1e-4


def test_left_is_the_mirror_image_of_right() -> None:
    for law in (RightCensored(1.0), RightTruncated(1.0)):
        assert np.array_equal(drawn(Mirrored(law), 1000), -drawn(law, 1000))


def test_censoring_only_moves_what_exceeds_the_threshold() -> None:
    """The same generator: RC-Gaussian is min(z, th) of the very same z (Eq. 10)."""
    whole = torch.randn(1000, generator=generator()).numpy()
    assert np.array_equal(drawn(RightCensored(0.7), 1000), np.minimum(whole, np.float32(0.7)))


@pytest.mark.parametrize("name", LAWS)
def test_draws_come_from_the_generator_alone(name: str) -> None:
    law = LAWS[name]
    before = torch.get_rng_state()
    assert np.array_equal(drawn(law, 1000, seed=3), drawn(law, 1000, seed=3))
    assert not np.array_equal(drawn(law, 1000, seed=3), drawn(law, 1000, seed=4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(), (0,), (3, 4, 5)])
@pytest.mark.parametrize("name", LAWS)
def test_any_shape_in_float32(name: str, shape: tuple[int, ...]) -> None:
    sample = LAWS[name].sample(shape, generator())
    assert sample.shape == shape
    assert sample.dtype == torch.float32
    assert not sample.requires_grad


@pytest.mark.parametrize("th", [-0.1, math.inf, math.nan])
@pytest.mark.parametrize("law", [RightCensored, RightTruncated])
def test_a_threshold_below_zero_is_refused(law: type[Law], th: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        law(th)
