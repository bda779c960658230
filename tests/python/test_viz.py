"""Plots say what the data says: bars, labels and lines are looked at, not pixels."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure

import pycrcnn
from pycrcnn import viz
from pycrcnn.errors import InvalidValueError, ShapeError
from pycrcnn.viz.canvas import RED, TEAL

SHAPE = (1, 6, 6)
IMAGES = np.random.default_rng(0).uniform(0, 1, (4, *SHAPE))


def network() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        {"type": "conv2d", "weight": rng.normal(size=(2, 1, 3, 3)), "bias": rng.normal(size=2), "stride": (3, 3)},
        {"type": "square"},
        {"type": "flatten"},
        {"type": "linear", "weight": rng.normal(size=(3, 8)), "bias": rng.normal(size=3)},
    ]


@pytest.fixture(scope="module")
def packed() -> pycrcnn.Program:
    return pycrcnn.compile(network(), SHAPE, layout="packed", calibration=IMAGES)


@pytest.fixture(scope="module")
def exact() -> pycrcnn.Program:
    return pycrcnn.compile(network(), SHAPE, layout="packed", scheme="bfv", calibration=IMAGES)


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def tick_labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_plan_stacks_the_primes_of_each_step(packed: pycrcnn.Program) -> None:
    explanation = packed.explain()
    [ax] = viz.plan(explanation).axes
    heights: dict[int, list[float]] = {}
    for bar in ax.patches:
        heights.setdefault(round(bar.get_x() + bar.get_width() / 2), []).append(bar.get_height())
    assert heights == {i: list(explanation.prime_bits[: step.primes]) for i, step in enumerate(explanation.steps)}
    assert ax.lines[0].get_ydata()[0] == explanation.limit_bits
    first = explanation.steps[0]
    label = tick_labels(ax.xaxis)[0]
    assert label.startswith("linear 8 x 36\n0 conv2d\n")
    assert f"{first.hoisted_rotations}+{first.giant_rotations} rotations" in label
    assert f"{first.diagonals} products" in label


def test_plan_of_steps_that_keep_the_modulus() -> None:
    program = pycrcnn.compile(network(), SHAPE, layout="per-value")
    explanation = program.explain()
    [ax] = viz.plan(explanation).axes
    assert len(ax.patches) == len(explanation.steps) * len(explanation.prime_bits)


def test_seconds_are_those_of_the_steps_and_of_the_rest(packed: pycrcnn.Program) -> None:
    explanation = packed.explain()
    [ax] = viz.seconds(explanation).axes
    drawn = [bar.get_width() / 1e3 for bar in ax.patches]
    steps = [step.seconds for step in explanation.steps if step.seconds]
    assert drawn[: len(steps)] == pytest.approx(steps)
    assert sum(drawn) == pytest.approx(max(explanation.seconds, sum(steps)))


def test_measured_seconds_have_units() -> None:
    [ax] = viz.seconds({"encrypt": 0.0018, "evaluate": 1.5}).axes
    assert texts(ax) == ["1.8 ms", "1.5 s"]
    assert tick_labels(ax.yaxis) == ["encrypt", "evaluate"]


def test_traffic(packed: pycrcnn.Program) -> None:
    explanation = packed.explain()
    [ax] = viz.traffic(explanation).axes
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [explanation.key_bytes, explanation.bytes_up, explanation.bytes_down]
    assert ax.get_xscale() == "log"
    assert ax.get_xlim()[0] < min(widths)
    [ax] = viz.traffic({"nothing": 0, "a kilobyte": 1000}).axes
    assert texts(ax) == ["0 bytes", "1 kB"]


def test_noise_budget_of_a_plan_and_of_measurements(exact: pycrcnn.Program, packed: pycrcnn.Program) -> None:
    explanation = exact.explain()
    [ax] = viz.noise_budget(explanation).axes
    expected = [explanation.fresh_noise_budget, *(step.noise_budget for step in explanation.steps)]
    assert [bar.get_height() for bar in ax.patches] == expected
    [ax] = viz.noise_budget([("fresh", 30), ("square", 0)]).axes
    assert [colors.to_hex(bar.get_facecolor()) == RED for bar in ax.patches] == [False, True]
    with pytest.raises(InvalidValueError, match="packed BFV"):
        viz.noise_budget(packed.explain())
    with pytest.raises(InvalidValueError, match="at least one step"):
        viz.noise_budget([])


def test_errors_leave_out_zeros_and_refuse_other_lengths() -> None:
    [ax] = viz.errors(["conv", "square"], predicted=[1e-3, 1e-2], measured=[0, 2e-3]).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[1e-3, 1e-2], [2e-3]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["predicted", "measured"]
    with pytest.raises(ShapeError, match="1 errors for 2 layers"):
        viz.errors(["conv", "square"], measured=[1e-3])


def test_predictions_show_the_best_classes_and_what_is_wrong() -> None:
    scores = np.array([[0.1, 3.0, 1.0, 2.0], [5.0, 1.0, 2.0, 3.0]])
    figure = viz.predictions(IMAGES[:2], scores, ["a", "b", "c", "d"], [1, 3], best=2)
    first, second, *below = figure.axes
    assert [first.get_title(), second.get_title()] == ["b", "a"]
    assert [first.title.get_color(), second.title.get_color()] == [TEAL, RED]
    assert texts(second) == ["is: d"]
    assert tick_labels(below[0].yaxis) == ["b", "d"]
    assert [bar.get_width() for bar in below[1].patches] == [5.0, 3.0]
    colour = viz.predictions(np.zeros((1, 3, 5, 4)), scores[:1])
    assert colour.axes[0].images[0].get_array().shape == (5, 4, 3)
    for images, values, names, labels in [
        (IMAGES[:1], scores, None, None),
        (IMAGES[0, 0], scores, None, None),
        (IMAGES[:2], scores, ["a"], None),
        (IMAGES[:2], scores, None, [1]),
    ]:
        with pytest.raises(ShapeError):
            viz.predictions(images, values, names, labels)


@pytest.mark.parametrize("draw", [viz.plan, viz.seconds, viz.traffic])
def test_given_axes_are_drawn_into(draw: Any, packed: pycrcnn.Program) -> None:
    figure = Figure()
    ax = figure.add_subplot()
    assert draw(packed.explain(), ax) is figure
    assert ax.patches


def test_a_program_plots_itself(packed: pycrcnn.Program, exact: pycrcnn.Program) -> None:
    assert len(packed.plot().axes) == 3
    figure = exact.plot()
    assert len(figure.axes) == 4
    assert f"N = {exact.context.degree}" in figure.get_suptitle()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_parts_of_an_interactive_program_stand_one_below_the_other() -> None:
    program = pycrcnn.compile_interactive(network(), SHAPE, layout="packed", calibration=IMAGES, cuts=[1])
    figure = program.plot()
    assert len(figure.axes) == 6
    assert [part.get_suptitle()[:13] for part in figure.subfigs] == ["part 1 of 2: ", "part 2 of 2: "]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_pyplot_learns_nothing_and_importing_the_package_takes_no_matplotlib() -> None:
    program = """
import sys, pycrcnn
assert "matplotlib" not in sys.modules
from pycrcnn import viz
viz.seconds({"a": 1.0})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_matplotlib_the_extra_is_named() -> None:
    program = """
import sys
sys.modules["matplotlib"] = None
from pycrcnn.errors import MissingPackageError
try:
    import pycrcnn.viz
except MissingPackageError as error:
    assert "pip install 'pycrcnn[plot]'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)
