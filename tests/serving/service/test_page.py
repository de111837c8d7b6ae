"""The page in a browser, by keyboard and on a phone: lists, reasons, histories, and a service that fails."""

import shutil

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here"),
    pytest.mark.xdist_group("service"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, client):
    """A function that opens the page in a window; whatever it loads or complains of is looked at when it is closed."""
    contexts, elsewhere, complaints = [], [], []

    def open_page(width=1200, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda asked: asked.url.startswith(str(client.base_url)) or elsewhere.append(asked.url))
        page.goto(str(client.base_url))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == [] and [url for url in elsewhere if not url.startswith("data:")] == []


def titles(page):
    return page.locator("#list li .name").all_text_contents()


def show(page, user):
    page.focus("#user")
    page.keyboard.type(user)
    page.keyboard.press("Enter")
    page.wait_for_selector("#list li")


def test_a_user_by_keyboard_with_reasons_and_without_an_item(opened, client):
    page = opened()
    show(page, "c03")
    expected = client.post("/recommend", json={"user": "c03", "top_k": 9}).json()["items"]
    assert titles(page) == [row["title"] for row in expected]
    page.locator("#list li .name").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#why tbody tr")
    assert page.locator(":focus").get_attribute("id") == "because"
    why = client.post("/explain", json={"user": "c03", "items": [expected[0]["item"]]}).json()["items"][0]["reasons"]
    assert page.locator("#why .bars th").all_text_contents() == [reason["title"] for reason in why]
    before, history = titles(page), page.locator("#history .name").all_text_contents()
    assert len(history) == 6
    page.locator("#history button").first.focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#history li")).to_have_count(5)
    sync_api.expect(page.locator("#list li .name")).not_to_have_text(before)
    assert "A new user" in page.text_content("#state") and history[0] in titles(page)


def test_heads_are_rows_and_what_speaks_against_an_item_is_seen(opened):
    """By an answer as of a model with two heads."""
    reasons = [
        {"item": "p01", "title": "Red mug 1", "weight": 0.5, "heads": [0.9, 0.1]},
        {"item": "p02", "title": "<b>Blue</b> mug 2", "weight": -0.25, "heads": [0.0, -0.5]},
    ]
    answer = {
        "model": "m",
        "user": "c03",
        "method": "shares",
        "items": [{"item": "p03", "title": "x", "reasons": reasons}],
    }
    page = opened()
    page.route("**/explain", lambda route: route.fulfill(json=answer))
    show(page, "c03")
    page.locator("#list li .name").first.click()
    page.wait_for_selector("#why tbody tr")
    assert page.locator(".heads td").all_text_contents() == ["0.90", "0.00", "0.10", "-0.50"]
    assert page.locator(".bars th").all_text_contents() == ["Red mug 1", "<b>Blue</b> mug 2"]
    bars = page.locator(".bar")
    assert [bar.get_attribute("class") for bar in bars.all()] == ["bar", "bar minus"]
    assert bars.nth(0).bounding_box()["width"] == pytest.approx(2 * bars.nth(1).bounding_box()["width"], rel=0.02)


def test_a_history_of_titles_is_kept_while_requests_fail(opened):
    page = opened()
    page.fill("#search", "red tea")
    page.wait_for_selector("#found button")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#list li")
    before = titles(page)
    assert page.locator("#history .name").all_text_contents() == ["Red tea 9"]
    page.route("**/recommend", lambda route: route.abort())
    page.fill("#search", "blue mug")
    page.wait_for_selector("#found button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "The service does not answer. Nothing that you chose is lost." in page.text_content("#trouble")
    assert page.locator("#history li").count() == 2 and titles(page) == before
    page.unroute("**/recommend")
    page.reload()  # which loses nothing either
    page.wait_for_selector("#list li")
    assert page.locator("#history li").count() == 2 and not page.is_visible("#trouble") and titles(page) != before
    page.route("**/recommend", lambda route: route.abort())
    page.locator("#history button").first.click()
    page.wait_for_selector("#trouble:not([hidden])")
    page.unroute("**/recommend")
    page.click("#trouble button")
    page.wait_for_selector("#trouble", state="hidden")
    assert titles(page) == before


def test_what_a_user_has_is_feedback(opened, client):
    page = opened()
    show(page, "c08")
    first = titles(page)[0]
    page.locator("#list li button:not(.name)").first.click()
    sync_api.expect(page.locator("#history li")).to_have_count(7)
    sync_api.expect(page.locator("#list li .name").first).not_to_have_text(first)
    assert client.get("/users/c08").json()["history"][-1]["title"] == first


def test_a_user_that_nobody_knows(opened):
    page = opened()
    page.fill("#user", "c3")
    page.click("#take")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "unknown user 'c3'; the nearest ids are c03" in page.text_content("#trouble")


def test_a_phone_in_the_dark(opened):
    page = opened(360, color_scheme="dark", has_touch=True, is_mobile=True)
    page.fill("#user", "c03")
    page.tap("#take")
    page.wait_for_selector("#list li")
    page.locator("#list li .name").first.tap()
    page.wait_for_selector("#why tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 26)"
    heights = page.evaluate(
        "[...document.querySelectorAll('main button')].filter(b => b.offsetParent).map(b => b.offsetHeight)"
    )
    assert min(heights) >= 36
