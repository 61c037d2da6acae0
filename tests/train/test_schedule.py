import pytest

from locationnet.train.compat import mx
from locationnet.train.schedule import Schedule


def test_the_rate_rises_in_equal_steps_to_its_base() -> None:
    rates = [Schedule("step", 0.4, 4, 100)(update) for update in range(1, 7)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_steps_fall_by_the_factor_after_their_update() -> None:
    schedule = Schedule("step", 1.0, 0, 100, (50, 75), 0.1)
    rates = [schedule(update) for update in (1, 50, 51, 75, 76, 100)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_cosine_is_half_way_in_the_middle_and_ends_near_zero() -> None:
    schedule = Schedule("cosine", 1.0, 10, 110)
    assert schedule(11) == 1.0
    assert schedule(61) == pytest.approx(0.5)
    assert 0 < schedule(110) < 0.001
    assert schedule(500) == 0.0


def test_mxnet_asks_for_the_update_that_is_coming() -> None:
    schedule = Schedule("cosine", 1.0, 0, 10)
    optimizer = mx.optimizer.SGD(
        learning_rate=1.0, lr_scheduler=schedule, begin_num_update=6, wd=0.0
    )
    weight, gradient = mx.nd.zeros(1), mx.nd.ones(1)
    optimizer.update(0, weight, gradient, None)
    assert weight.asscalar() == pytest.approx(-schedule(7))
