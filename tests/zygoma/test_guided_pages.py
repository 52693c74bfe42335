"""Both pages of a guided session in a real browser, at every kind of screen, without devices."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.zygoma.guided_stage import BROWSER_OPTIONS, EXAMPLES, GREEN, FlowOnly, browser_path, served
from zygoma.guided.preflight import Check, Health
from zygoma.guided.protocol import load_protocol
from zygoma.guided.steps import StepKind
from zygoma.monitor.access import Access

pytestmark = pytest.mark.timeout(200)


def violations(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found]


def test_every_screen_is_drawn_and_accessible() -> None:
    path = browser_path()
    from playwright.sync_api import expect, sync_playwright

    session = FlowOnly(load_protocol(EXAMPLES / "protocol-short.toml"))
    errors: list[str] = []
    with served(session, Access.on_this_machine()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        size: Any = {"width": 1280, "height": 720}
        operator, participant = browser.new_page(viewport=size), browser.new_page(viewport=size)
        for page in (operator, participant):
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
        expect.set_options(timeout=60_000)

        session.flow.tick(Health((Check("EMG stream", False, "not there: start it"),)))
        operator.goto(f"{server.url}session")
        participant.goto(f"{server.url}participant")
        expect(operator.locator("#checks li.red")).to_have_count(1)
        expect(operator.locator("[data-command=next]")).to_be_disabled()
        expect(participant.locator("#text")).to_contain_text("Welcome")
        assert not violations(operator)
        assert not violations(participant)
        participant.get_by_role("button", name="Begin").click()

        expect(operator.locator("#no-picture")).to_be_visible()
        session.picture = (1, (EXAMPLES / "stimuli" / "sunny.png").read_bytes())
        expect(operator.locator("#picture")).to_be_visible()
        assert operator.locator("#steps li").all_text_contents()[1] == "Rest baseline"

        session.flow.tick(GREEN)
        expect(operator.locator("[data-command=next]")).to_be_enabled()
        operator.keyboard.press("Enter")
        expect(operator.locator("#title")).to_have_text("Rest baseline")
        expect(participant.locator("#cross")).to_be_visible()
        assert not violations(participant)
        session.flow.next()
        session.wait(7.0)
        session.flow.measured(["There was a smile in the rest."], ["Face in 99 % of 90 frames."])
        expect(operator.locator("#problems li")).to_have_count(1)
        assert not violations(operator)
        operator.keyboard.press("o")
        expect(operator.locator("#ask")).to_be_visible()
        assert not violations(operator)
        operator.fill("#ask-text", "restless")
        operator.keyboard.press("Enter")
        expect(operator.locator("#title")).to_have_text("Maximum: smile")
        expect(operator.locator("#log")).to_contain_text("override: restless")

        session.flow.next()
        session.wait(2.5)
        expect(participant.locator("#pose")).to_be_visible()
        expect(participant.locator("#text")).to_contain_text("Smile")
        assert not violations(participant)

        session.go_to(StepKind.STIMULUS)
        session.flow.next()
        session.wait(0.6)
        expect(participant.locator("#picture")).to_be_visible()
        # Painted and confirmed by the page itself.
        expect(operator.locator("#left")).to_contain_text("2.5 s")
        assert len(session.flow.showings) == 1
        # Shown again: neither the first showing's end nor its picture cuts into the second one.
        session.flow.redo()
        expect(participant.locator("#cross")).to_be_visible()
        session.wait(0.6)
        expect(participant.locator("#picture")).to_be_visible()
        end_s = time.monotonic() + 60
        while len(session.flow.showings) < 2:
            assert time.monotonic() < end_s
            participant.wait_for_timeout(50)
        session.wait(2.6)
        expect(participant.locator("#form")).to_be_visible()
        assert not violations(participant)
        assert participant.evaluate("document.documentElement.scrollHeight <= innerHeight")

        participant.get_by_role("button", name="Continue").click()
        expect(participant.get_by_role("alert")).to_contain_text("choose a figure")
        participant.keyboard.press("Escape")
        participant.keyboard.press("7")
        participant.keyboard.press("3")
        participant.locator("[name=emotion-fear]").fill("4")
        participant.get_by_role("button", name="Continue").click()
        expect(participant.locator("#form")).to_be_hidden()
        report = session.flow.reports[0].report
        assert report is not None
        assert (report.valence, report.arousal, report.emotions["fear"]) == (7, 3, 4)

        operator.keyboard.press("x")
        operator.fill("#ask-text", "unwell")
        operator.keyboard.press("Enter")
        expect(operator.locator("#sentence")).to_contain_text("aborted: unwell")
        expect(participant.locator("#text")).to_contain_text("Thank you")
        operator.emulate_media(color_scheme="dark")
        assert not violations(operator)
        assert not errors
        browser.close()
