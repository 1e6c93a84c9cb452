"""Which addresses may be called: a table of every kind that leads inside."""

import ipaddress

import pytest

from app.services.notifications.webhook_targets import is_public, problem_of

INSIDE = {
    "this machine": ["127.0.0.1", "127.255.0.1", "0.0.0.0", "::1", "::"],  # noqa: S104 - nobody binds it
    "private networks": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::a%eth0"],
    "metadata of clouds": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast, reserved, broadcast": ["224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "ff02::1"],
    "documentation and benchmarks": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8"],
    "IPv4-compatible and translated": ["::127.0.0.1", "::8.8.8.8", "::ffff:0:10.0.0.1"],
    "NAT64": ["64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1"],
    "tunnels": ["2002:7f00:1::1", "2002:808:808::1", "2001:0:1234::1"],
    "site-local": ["fec0::1"],
}
OUTSIDE = ["8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001:81c::200e"]


@pytest.mark.parametrize("address", [one for several in INSIDE.values() for one in several])
def test_an_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://ci.example.org/",
        "ftp://ci.example.org/",
        "file:///etc/passwd",
        "//ci.example.org/",
        "ci.example.org",
        "https://",
        "https:///path",
        "https://ci.example.org:0/",
        "https://ci.example.org:70000/",
        "https://user:hunter2@ci.example.org/",
        "https://user@ci.example.org/",
        "https://ci.example.org/#part",
        "https://[::1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://api.localhost/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_a_url_that_may_not_be_called_is_refused(url: str) -> None:
    problem = problem_of(url, allow_private=False, allow_http=False)
    assert problem is not None
    assert problem.field == "url"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize("url", ["https://ci.example.org", "https://ci.example.org:8443/a?b=c", "https://8.8.8.8/"])
def test_https_to_the_internet_is_taken(url: str) -> None:
    assert problem_of(url, allow_private=False, allow_http=False) is None


def test_each_permission_opens_what_it_names_and_no_more() -> None:
    assert problem_of("http://ci.example.org/", allow_private=False, allow_http=True) is None
    assert problem_of("http://127.0.0.1/", allow_private=False, allow_http=True) is not None
    assert problem_of("https://127.0.0.1/", allow_private=True, allow_http=False) is None
    assert problem_of("http://127.0.0.1/", allow_private=True, allow_http=False) is not None
    assert problem_of("http://localhost:9000/", allow_private=True, allow_http=True) is None
