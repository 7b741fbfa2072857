"""What every channel does, and what is a webhook's own."""

import json

import pytest
from tests.channels.conftest import SECRET

from nextbest.channels import opened
from nextbest.channels.base import Delivery, Undelivered
from nextbest.channels.webhook import signature
from nextbest.errors import UsageError

pytest.importorskip("urllib3")


@pytest.fixture(params=["file", "webhook"])
def channel(request, hook, tmp_path):
    """A channel, what it handed over (key → body), and a way to break it."""
    if request.param == "file":
        folder = tmp_path / "out"

        def taken():
            return {path.stem: path.read_bytes() for path in folder.glob("[!.]*.json")}

        def broken():
            folder.write_text("in the way")

        return opened(f"file://{folder}"), taken, broken
    return opened(hook.url, SECRET), lambda: {post.key: post.body for post in hook.posts}, lambda: setattr(hook, "status", 503)


def test_a_delivery_is_handed_over_whole(channel):
    way, taken, _ = channel
    way.deliver(Delivery("r1-0-message", '{"текст": "₸"}'.encode()))
    assert taken() == {"r1-0-message": '{"текст": "₸"}'.encode()}


def test_the_same_key_again_is_no_error(channel):
    way, taken, _ = channel
    for _ in range(2):
        way.deliver(Delivery("r1-0-message", b"{}"))
    assert list(taken()) == ["r1-0-message"]


def test_what_is_broken_for_now_may_be_taken_later(channel):
    way, taken, broken = channel
    broken()
    with pytest.raises(Undelivered) as why:
        way.deliver(Delivery("r1-0-message", b'{"name": "Aigerim"}'))
    assert why.value.again and "Aigerim" not in str(why.value) and taken() == {}


def test_the_signature_is_that_of_the_standard():
    """The example of the specification's own test suite."""
    body = b'{"test": 2432232314}'
    opened_secret = opened("https://example.org/", SECRET).secret
    assert signature(opened_secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_post_is_signed_and_says_what_it_is(hook):
    opened(hook.url, SECRET).deliver(Delivery("r1-0-message", b'{"a": 1}'))
    [post] = hook.posts
    at = post.headers["webhook-timestamp"]
    assert post.headers["webhook-signature"] == "v1," + signature(opened(hook.url, SECRET).secret, "r1-0-message", at, b'{"a": 1}')
    assert post.headers["content-type"] == "application/json" and json.loads(post.body) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (408, True), (400, False), (410, False), (302, False)]
)
def test_which_answers_are_for_good(hook, status, again):
    hook.status = status
    with pytest.raises(Undelivered) as why:
        opened(hook.url, SECRET).deliver(Delivery("k", b"{}"))
    assert why.value.again is again and str(status) in str(why.value) and hook.posts == []


def test_a_receiver_that_is_not_there(hook):
    with pytest.raises(Undelivered) as why:
        opened("http://127.0.0.1:1/", SECRET).deliver(Delivery("k", b"{}"))
    assert why.value.again


@pytest.mark.parametrize(
    ("address", "secret", "what"),
    [
        ("http://bank.example/hook", SECRET, "unencrypted"),
        ("https://bank.example/hook", None, "unsigned"),
        ("https://bank.example/hook", "whsec_c2hvcnQ=", "24 bytes"),
        ("https://bank.example/hook", "hunter2", "24 bytes"),
        ("https://user:pass@bank.example/hook", SECRET, "not secret"),
        ("ftp://bank.example", SECRET, "no address"),
        ("file:///", None, "no address"),
        ("bank.example/hook", SECRET, "no address"),
        ("http://[::1", SECRET, "no address"),
        ("https://ban k.example/x", SECRET, "no address"),
        ("https://bank.example:99999/x", SECRET, "no address"),
    ],
)
def test_addresses_that_are_refused(address, secret, what):
    with pytest.raises(UsageError) as error:
        opened(address, secret)
    assert what in str(error.value) and "pass@" not in str(error.value) and "hunter2" not in str(error.value)


def test_a_slow_receiver_is_waited_for(hook):
    hook.seconds = 6  # longer than it may take to connect
    opened(hook.url, SECRET).deliver(Delivery("k", b"{}"))
    assert [post.key for post in hook.posts] == ["k"]


def test_a_folder_by_its_address(tmp_path):
    opened(f"file://{tmp_path}/a%20b").deliver(Delivery("k", b"{}"))
    assert (tmp_path / "a b" / "k.json").read_bytes() == b"{}" and [path.name for path in (tmp_path / "a b").iterdir()] == ["k.json"]
    assert (tmp_path / "a b" / "k.json").stat().st_mode & 0o044  # whoever collects is another account
    with pytest.raises(UsageError):
        opened(f"file://{tmp_path}/a#b")


def test_plain_http_where_it_is_allowed():
    opened("http://bank.example/hook", SECRET, plain_http=True)
