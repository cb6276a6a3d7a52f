"""The page of a function: whole in one file, true to the function, and usable in a real browser."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

import symnet
import symnet.inspect
import symnet.tensor as T
from symnet.errors import ArgumentError

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def training_step(layers=2, name="step"):
    """A dense network's training step, called once, and the line of its product."""
    random = np.random.default_rng(2)
    x, y = T.fmatrix("x"), T.lvector("y")
    hidden, parameters = x, []
    for number in range(layers):
        w = symnet.shared(random.normal(size=(30, 30)).astype("float32") * 0.1, name=f"w{number}")
        hidden = T.tanh(T.dot(hidden, w))
        parameters.append(w)
    cost = T.nnet.categorical_crossentropy(T.nnet.softmax(hidden), y).mean()
    updates = [(each, each - 0.1 * g) for each, g in zip(parameters, T.grad(cost, parameters), strict=True)]
    step = symnet.function([x, y], cost, updates=updates, name=name)
    given = np.ones((5, 30), dtype="float32"), np.arange(5)
    step(*given)
    return step, given


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path):
    step, _ = training_step()
    page = symnet.inspect.html(step, tmp_path / "step.html")
    assert (tmp_path / "step.html").read_text(encoding="utf-8") == page
    own = page.split('id="data"')[0]
    assert not re.findall(r"<(?:link|img|iframe)\b|<script[^>]*\bsrc=|@import|url\(", own)
    assert "The Cytoscape Consortium" in page


def test_it_has_both_graphs_and_every_kernel_with_its_code():
    step, given = training_step()
    found = data_of(symnet.inspect.html(step, profile=step.profile(*given, n=3)))
    assert found["name"] == "step"
    for stage in ("user", "rewritten"):
        graph = symnet.inspect.to_networkx(step, stage)
        nodes = {node["id"] for node in found["graphs"][stage]["nodes"]}
        assert nodes == set(graph.nodes)
        edges = {tuple(edge) for edge in found["graphs"][stage]["edges"]}
        assert edges == {(a, b) for a, b, _ in graph.edges}
    assert [each["name"] for each in found["kernels"]] == [each.name for each in step.kernels]
    for mine, kernel in zip(found["kernels"], step.kernels, strict=True):
        texts = dict(mine["texts"])
        assert texts["Numba source"] == kernel.source
        assert f"@{kernel.name}" in texts["LLVM"] or f'@"{kernel.name}"' in texts["LLVM"]
        assert ".text" in texts["assembly"]
        assert mine["seconds"] > 0


def test_a_line_leads_to_its_nodes_and_kernels():
    step, _ = training_step()
    found = data_of(symnet.inspect.html(step))
    (number,) = [n for n, line in enumerate(found["lines"]) if "T.dot(hidden, w)" in line["text"]]
    nodes = [node for node in found["graphs"]["user"]["nodes"] if node["line"] == number]
    assert {node["op"] for node in nodes} >= {"dot", "tanh"}
    products = [node for node in nodes if node["op"] == "dot"]
    assert products and all(node["kernels"] for node in products)
    kernels = [kernel for kernel in found["kernels"] if number in kernel["lines"]]
    assert any("dot" in kernel["name"] for kernel in kernels)
    assert "T.dot(hidden, w)" in found["lines"][number]["explanation"]


def test_names_of_any_kind_survive():
    x = T.dvector('</script><b>"quoted" \\ \n é 漢')
    f = symnet.function([x], T.exp(x), name="<i>&name</i>")
    f([1.0])
    page = symnet.inspect.html(f)
    found = data_of(page)
    assert found["name"] == "<i>&name</i>" and "<title>&lt;i&gt;&amp;name&lt;/i&gt;</title>" in page
    assert any('"quoted" \\ \n é 漢' in node["label"] for node in found["graphs"]["user"]["nodes"])
    assert "<b>" not in page.split('id="data"')[1].split("<script>")[0]


def test_a_function_that_was_not_called_has_its_graphs():
    x = T.dvector("x")
    found = data_of(symnet.inspect.html(symnet.function([x], T.exp(x).sum())))
    assert found["kernels"] == [] and found["graphs"]["rewritten"]["nodes"]


def test_a_function_that_is_not_compiled_has_no_page(tmp_path):
    x = T.dvector("x")
    f = symnet.function([x], T.exp(x), mode="reference")
    f([1.0])
    with pytest.raises(ArgumentError, match="no kernels to look at"):
        symnet.inspect.html(f, tmp_path / "f.html")
    assert not (tmp_path / "f.html").exists()


def test_the_memory_plan_lies_within_the_arena():
    step, _ = training_step(4)
    plan = data_of(symnet.inspect.html(step))["memory"]
    assert plan["buffers"] and plan["arena"] > 0
    for buffer in plan["buffers"]:
        assert buffer["offset"] >= 0 and buffer["offset"] + buffer["bytes"] <= plan["arena"]
        assert 0 <= buffer["first"] <= buffer["last"] < len(plan["steps"])


# --- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium with its driver is installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--window-size=1600,1000", "--disable-dev-shm-usage"),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Drawing large graphs takes long where others use the machine.
    options.timeouts = {"script": 300_000}
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    """Open the page of a function from its file."""

    def opened(function, **more):
        symnet.inspect.html(function, tmp_path / "page.html", **more)
        browser.get((tmp_path / "page.html").as_uri())
        return browser

    yield opened
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def group(browser, by):
    """Choose what boxes are collapsed by."""
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", "grouping")).select_by_value(by)


def text_of(browser, selector):
    return browser.find_element("css selector", selector).text


def test_from_a_line_to_its_kernel_and_share_of_time_in_three_clicks(open_page):
    step, given = training_step()
    browser = open_page(step, profile=step.profile(*given, n=5))
    lines = browser.find_elements("css selector", ".line")
    next(line for line in lines if "T.dot(hidden, w)" in line.text).click()
    assert "ends in these kernels" in text_of(browser, "#details")
    links = browser.find_elements("css selector", "#details .kernel-link")
    next(link for link in links if "dot" in link.text).click()
    details = text_of(browser, "#details")
    assert "%" in details and "Numba source" in details
    assert "for " in text_of(browser, "#details pre")
    buttons = browser.find_elements("css selector", "#details h4 button")
    next(button for button in buttons if button.text == "assembly").click()
    assert ".text" in text_of(browser, "#details pre")


def test_search_grouping_and_sheets(open_page):
    step, _ = training_step(3)
    browser = open_page(step)
    browser.find_element("id", "search").send_keys("softmax")
    assert re.fullmatch(r"[1-9]\d* found", text_of(browser, "#found"))
    group(browser, "kernel")
    grouped = browser.execute_script("return panes[1].cy.nodes().length")
    group(browser, "none")
    every = browser.execute_script("return panes[1].cy.nodes().length")
    assert 0 < grouped < every
    browser.find_element("id", "tab-memory").click()
    assert browser.find_elements("css selector", "#sheet svg rect")
    browser.find_element("id", "tab-rewriting").click()
    assert "canonicalise" in text_of(browser, "#sheet")


def test_a_click_on_a_node_shows_what_it_is(open_page):
    step, _ = training_step(1)
    browser = open_page(step)
    browser.execute_script(
        "panes[0].group('none');"
        "panes[0].cy.nodes().filter((box) => box.data('label') === 'tanh')[0].emit('tap')"
    )
    details = text_of(browser, "#details")
    assert "tanh" in details and "float32" in details and "test_page.py" in details


def test_five_thousand_nodes_are_drawn_and_searched(open_page):
    x = T.fvector("x")
    y = x
    for number in range(2500):
        y = T.tanh(y * (1 + number % 7)) if number % 2 else y + x
    f = symnet.function([x], y, name="long", mode=symnet.Mode("default", optimizer=None))
    f(np.ones(3, dtype="float32"))
    browser = open_page(f)
    assert browser.execute_script("return panes[0].graph.nodes.length") >= 5000
    group(browser, "none")
    assert browser.execute_script("return panes[0].cy.nodes().length") >= 5000
    browser.find_element("id", "search").send_keys("tanh")
    assert int(text_of(browser, "#found").split()[0]) >= 1250
