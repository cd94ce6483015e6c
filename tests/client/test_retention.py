"""What each retention policy keeps: its promise, and that no two of them disagree about what a number means."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise_client.retention import (
    DEFAULT_POLICY,
    WINDOW_EPOCHS,
    Cumulative,
    Layered,
    Policy,
    Stability,
    Standing,
    Window,
)

HERE = Standing(first_k=10, epochs=[3, 5, 6, 9], stable_k=12, epoch=20)


@pytest.mark.parametrize(
    ("epochs_max", "keep_from"),
    [(1, 14), (11, 14), (12, 13), (14, 13), (15, 12), (16, 11), (17, 11), (18, 10), (10**6, 10)],
)
def test_a_window_keeps_the_last_epochs(epochs_max: int, keep_from: int) -> None:
    """Epochs 3, 5, 6 and 9 as seen from 20: the last 12 are those from 9 on."""
    assert Window(epochs_max).keep_from(HERE) == keep_from


def test_stability_keeps_what_is_not_stable() -> None:
    assert Stability().keep_from(HERE) == 12


def test_cumulative_keeps_no_message() -> None:
    assert Cumulative().keep_from(HERE) == 14


def test_layered_keeps_what_is_not_stable_within_a_window() -> None:
    assert Layered(Window(100)).keep_from(HERE) == 12
    assert Layered(Window(16)).keep_from(HERE) == 12
    assert Layered(Window(12)).keep_from(HERE) == 13
    assert Layered(Window(1)).keep_from(HERE) == 14


def test_the_default_is_layered_under_the_default_window() -> None:
    assert Layered(Window(WINDOW_EPOCHS)) == DEFAULT_POLICY


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    epochs = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    first_k = draw(st.integers(0, 5))
    stable_k = first_k + draw(st.integers(0, len(epochs)))
    return Standing(first_k, epochs, stable_k, max([*epochs, 0]) + draw(st.integers(0, 60)))


WINDOWS = st.builds(Window, st.integers(1, 130))
POLICIES: st.SearchStrategy[Policy] = st.one_of(
    WINDOWS, st.builds(Stability), st.builds(Cumulative), st.builds(Layered, WINDOWS)
)


@given(POLICIES, standings())
@settings(max_examples=200, deadline=None)
def test_what_is_kept_is_always_a_tail_of_what_there_is(policy: Policy, standing: Standing) -> None:
    assert standing.first_k <= policy.keep_from(standing) <= standing.next_k


@given(WINDOWS, standings())
@settings(max_examples=200, deadline=None)
def test_a_window_keeps_exactly_the_records_in_it(window: Window, standing: Standing) -> None:
    kept = standing.epochs[window.keep_from(standing) - standing.first_k :]
    assert kept == [epoch for epoch in standing.epochs if standing.epoch - epoch < window.epochs_max]


@given(WINDOWS, standings())
@settings(max_examples=200, deadline=None)
def test_layered_forgets_what_any_of_its_layers_forgets(cap: Window, standing: Standing) -> None:
    """What is stable needs no evidence, whatever the cap; and the cap holds, whatever peers do."""
    kept = Layered(cap).keep_from(standing)
    assert kept == max(Stability().keep_from(standing), cap.keep_from(standing))


@given(POLICIES, standings(), st.data())
@settings(max_examples=200, deadline=None)
def test_asking_again_after_forgetting_forgets_nothing_more(
    policy: Policy, standing: Standing, data: st.DataObject
) -> None:
    """Forgetting in one go, or by and by, is the same: a policy does not depend on when it is asked."""
    keep_from = policy.keep_from(standing)
    between = data.draw(st.integers(standing.first_k, keep_from))
    rest = standing._replace(
        first_k=between,
        epochs=standing.epochs[between - standing.first_k :],
        stable_k=max(between, standing.stable_k),
    )
    assert policy.keep_from(rest) == keep_from


@given(POLICIES, standings(), st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_nothing_that_was_forgotten_is_missed_later(policy: Policy, standing: Standing, epochs_more: int) -> None:
    assert policy.keep_from(standing._replace(epoch=standing.epoch + epochs_more)) >= policy.keep_from(standing)
