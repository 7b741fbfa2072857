"""Client: who, what, why, why not, and the message on a phone."""


def test_one_customer(look, demo):
    stored = demo.ask.get("/v1/playbooks/bank-kz/customers/1/decision").json()
    window = look("/p/bank-kz/client")
    window.page.get_by_label("Customer code").fill("1")
    window.page.keyboard.press("Enter")
    window.sees("Customer 1")
    assert window.page.locator(".nb-push p").inner_text() == stored["message"]["text"]
    window.sees("Keeps every editorial rule")
    window.sees("(Asia/Almaty)")
    offers = window.page.locator("article > h3:first-child").all_inner_texts()
    assert len(offers) == 4 and offers[0] == "1. Cash loan"
    window.sees("What it brings, a month")
    window.sees("(9 rows)")
    assert window.page.locator("svg rect, svg path").count() > 10  # the charts are drawn
    window.page.get_by_text("Premium card").click()
    window.page.get_by_text("rule:").first.wait_for()
    window.sees("What would change it")


def test_in_russian(look):
    window = look("/p/bank-kz/clients/1", language="ru-RU")
    for text in (
        "Клиент 1",
        "Лучшие предложения",
        "Почему не остальные",
        "уступило бы продукту",
        "10 713 ₸ в месяц".replace(" ", "\u00a0", 1),
    ):
        window.sees(text)
    assert window.page.evaluate("document.documentElement.lang") == "ru"
    window.page.get_by_role("link", name="EN").click()
    window.sees("Best offers")
    window.page.reload()
    window.sees("Best offers")


def test_a_refusal_takes_the_text_away(look, demo):
    consent = {"purpose": "marketing", "granted": False}
    assert demo.ask.post("/v1/customers/3/consents", json=consent).status_code == 204
    window = look("/p/bank-kz/clients/3")
    window.sees("opted out after the run began")
    assert window.page.locator(".nb-push").count() == 0
    window.open("/p/bank-kz/results?code=3")
    window.sees("Customers: 10 of 59")  # nor is it in the results, or in their files


def test_who_must_not_be_spoken_of(look, demo):
    assert demo.ask.post("/v1/customers/5/consents", json={"purpose": "profiling", "granted": False}).status_code == 204
    look("/p/bank-kz/clients/5").sees("Nothing may be said of this customer.")


def test_what_a_rule_saw_is_told_apart_from_what_it_asks():
    from nextbest.web.console.client import _DIGITS, _value
    from nextbest.web.console.here import Here

    here = Here(None, None, "bank-kz", "ru", "auto", True)
    assert [_value(here, value, _DIGITS) for value in (0.2961, 0.3, 14617.0, True)] == ["0,2961", "0,3", "14\u00a0617", "✓"]
