"""The whole: prepare once, train what is not finished, then write every table and figure."""

import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import AdamW

from model.device import choose_device, describe_device
from model.evaluate.paper.figures import draw_figures
from model.evaluate.paper.forecast import Forecast, Load, seconds_a_slice, spoken
from model.evaluate.paper.networks import build_network
from model.evaluate.paper.plan import Plan, course_of, make_plan
from model.evaluate.paper.recipe import NETWORKS, Case, Recipe, all_cases
from model.evaluate.paper.report import write_tables
from model.evaluate.paper.results import location_class, read_result, write_result
from model.evaluate.paper.training import Course, Point, Slices, change, score, step, train
from model.evaluate.paper.treatment import treat_all


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command line asks for, beside the recipe; `weights` are files by network."""

    tables: tuple[Path, ...]
    out: Path
    only: tuple[str, ...]
    weights: dict[str, Path]
    device: str | None


def run_plan(order: Order, recipe: Recipe) -> list[Case]:
    """Train what is not finished, write tables and figures, and return the cases that were trained now.

    Raises ModelError saying what is wrong.
    """
    device = choose_device(order.device)
    plan = make_plan(order.tables, recipe)
    cases = all_cases(order.only or NETWORKS)
    todo = [case for case in cases if read_result(order.out, case, plan.fingerprint) is None]
    order.out.mkdir(parents=True, exist_ok=True)
    say(f"{len(plan.rows)} slices; {len(todo)} of {len(cases)} trainings to do")
    if todo:
        Session(order, recipe, plan, device).train_all(todo)
    results = {
        case: result
        for case in all_cases(NETWORKS)
        if (result := read_result(order.out, case, plan.fingerprint)) is not None
    }
    write_tables(order.out, recipe, plan, results)
    draw_figures(order.out, recipe, plan, results)
    return todo


class Session:
    """The prepared pictures of a plan, and the trainings over them, one after the other."""

    def __init__(self, order: Order, recipe: Recipe, plan: Plan, device: torch.device) -> None:
        self._order, self._recipe, self._plan, self._device = order, recipe, plan, device
        rows = plan.rows
        places = [location_class(r.hemorrhage, r.location, recipe.location_outputs) for r in rows]
        self._slices = Slices(
            pictures=treat_all(rows, plan.crops, recipe.size),
            hemorrhage=torch.tensor([int(r.hemorrhage == 1) for r in rows]),
            location=torch.tensor(places),
        )

    def train_all(self, cases: Sequence[Case]) -> None:
        """Train the cases in turn; each is written as soon as it is finished."""
        say(f"{describe_device(self._device)}; measuring a step of each network")
        courses = {case: course_of(case, self._plan, self._recipe) for case in cases}
        forecast = Forecast(
            {case: self._load(case, course) for case, course in courses.items()},
            self._recipe.epochs,
            self._measure(courses),
        )
        say(f"about {spoken(forecast.left())} for all")
        for case, course in courses.items():
            self._train(case, course, forecast)
            gc.collect()  # a network of gigabytes goes before the next one comes

    def _load(self, case: Case, course: Course) -> Load:
        return Load(train=len(course.train), val=len(course.val), test=len(self._plan.parts[case.split].test))

    def _measure(self, courses: dict[Case, Course]) -> dict[tuple[str, bool], float]:
        """Return seconds a slice of each (network, augmented) that will train."""
        seconds: dict[tuple[str, bool], float] = {}
        for case, course in courses.items():
            if (case.network, case.augmented) not in seconds:
                seconds[case.network, case.augmented] = self._measure_step(case, course)
        return seconds

    def _measure_step(self, case: Case, course: Course) -> float:
        # weights do not change how long a step takes: none are read or fetched for this
        scratch = build_network(case.network, self._recipe.from_scratch(), None).to(self._device).train()
        optimizer = AdamW(scratch.parameters(), lr=self._recipe.rate, fused=True)
        rows = course.train[: course.batch]
        random = torch.Generator().manual_seed(0)

        def work() -> None:
            pictures = torch.from_numpy(self._slices.pictures[rows])
            step(
                scratch, optimizer, change(pictures, random) if course.augmented else pictures,
                self._slices, rows,
            )  # fmt: skip

        return seconds_a_slice(work, len(rows))

    def _train(self, case: Case, course: Course, forecast: Forecast) -> None:
        started = time.monotonic()
        weights = self._order.weights.get(case.network)
        network = build_network(case.network, self._recipe, weights).to(self._device)

        def told(point: Point) -> None:
            forecast.epoch_done(case, point["seconds"])
            say(
                f"{case.title}: epoch {point['epoch']:.0f}/{self._recipe.epochs}, "
                f"loss {point['training_loss']:.4f}, validation {point['validation_loss']:.4f}, "
                f"accuracy {point['validation_accuracy']:.4f}; about {spoken(forecast.left())} left for all"
            )

        curves = train(network, self._slices, course, self._recipe, told)
        test = self._plan.parts[case.split].test
        scores = score(network, self._slices, test)
        facts = {
            "fingerprint": self._plan.fingerprint,
            "case": case.name,
            "recipe": self._recipe.header(),
            "start": self._recipe.start_of(case.network),
            "device": describe_device(self._device),
            "slices": {"train": len(course.train), "val": len(course.val), "test": len(test)},
            "best_epoch": min(curves, key=lambda p: p["validation_loss"])["epoch"],
            "seconds": round(time.monotonic() - started, 1),
            "curves": curves,
        }
        write_result(self._order.out, case, [self._plan.rows[i] for i in test], scores, facts)


def say(text: str) -> None:
    """Write a line for who watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
