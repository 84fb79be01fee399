"""What a benchmark says must follow from what it saw."""

import pytest

from ops.bench import cpu
from ops.bench.chain import at_the_till
from ops.bench.counts import published_in
from ops.bench.figures import hops_ms, lines, medians, spread_ms
from ops.bench.pickup import Told, WrongCode, arrivals
from tests.builders import an_order


def test_the_spread_of_durations_is_told_in_milliseconds() -> None:
    found = spread_ms([n / 1000 for n in range(1, 102)])
    assert found == {"mean_ms": 51, "p50_ms": 51, "p99_ms": 100, "max_ms": 101}


def test_a_single_duration_is_its_own_spread() -> None:
    assert set(spread_ms([0.25]).values()) == {250}


def test_the_means_of_all_hops_add_up_to_the_mean_of_the_whole() -> None:
    journeys = [(0.0, 0.010, 0.040), (1.0, 1.030, 1.050)]
    hops = hops_ms(("first", "second"), journeys)
    assert (hops["first"]["mean_ms"], hops["second"]["mean_ms"]) == (20, 25)
    assert spread_ms([journey[-1] - journey[0] for journey in journeys])["mean_ms"] == 45


def test_repeated_runs_give_the_median_of_each_figure_and_of_each_group() -> None:
    runs = [
        {"rate": rate, "cpu": {"stock": rate / 10}, "broker": None} for rate in (900, 1300, 1000)
    ]
    assert medians(runs) == {"rate": 1000, "cpu": {"stock": 100}, "broker": None}


def test_people_read_one_figure_a_line() -> None:
    figures = {"orders": 6000, "cpu": {"stock": 0.1}, "none": None, "each": [1, {"calls": 2}]}
    page = " ".join(" ".join(lines(figures)).split())
    assert page == "orders 6,000 cpu stock 0.1 none not known here each 1 2"


def test_delays_at_the_till_run_from_handing_each_order_over() -> None:
    order = an_order().order_id
    books = {"messages": [{"order_id": str(order), "first_seen": 12.5}]}
    assert at_the_till(books, {order: 12.0}) == [0.5]


def test_a_pickup_code_has_arrived_when_the_platform_has_that_very_code() -> None:
    books = {"orders": [{"order_id": "7", "ready": {"first": 3.5, "code": "P0001"}}]}
    assert arrivals(books, {"7": "P0001"}, {"7": 3.0}) == [Told("7", 3.0, 3.5)]
    with pytest.raises(WrongCode):
        arrivals(books, {"7": "P0002"}, {"7": 3.0})


def test_every_publish_counts_whatever_became_of_it() -> None:
    page = (
        "# TYPE system2_published_total counter\n"
        'system2_published_total{exchange="events",result="confirmed"} 40\n'
        'system2_published_total{exchange="events",result="unknown"} 2\n'
        "# TYPE system2_events_total counter\n"
        'system2_events_total{type="OrderPlaced",result="applied"} 9\n'
    )
    assert published_in(page) == 42


def test_cpu_time_is_told_per_thousand_orders_and_the_rest_of_the_machine_beside_it() -> None:
    before = {"stock": 1.0, "pos": 2.0, "machine": 10.0}
    after = {"stock": 1.5, "pos": 2.1, "machine": 12.6}
    assert cpu.spent(before, after, 500) == {"stock": 1.0, "pos": 0.2, "elsewhere": 4.0}


def test_without_figures_from_the_machine_there_is_no_cpu_time() -> None:
    assert cpu.spent({}, {}, 500) == {}
