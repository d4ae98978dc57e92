"""What may be a target (docs/decisions/outbound-client.md): addresses of both families, and URLs made to deceive."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from common.kit.outbound import OutboundClient, Refused, own_services
from common.kit.outbound.addresses import AddressPolicy, parse

PUBLIC = "93.184.216.34"


def _words(text: str) -> list[str]:
    return text.split()


FORBIDDEN = _words(
    """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 100.100.100.200 127.0.0.1 127.255.255.254
168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1
192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.7
203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::169.254.169.254 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:a9fe:a9fe ::ffff:10.0.0.1 ::ffff:0.0.0.0
::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1
2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe::1 2620:4f:8000::1 3ffe::1 3fff::1 4000::1 5f00::1 fc00::1 fd00::1
fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%eth0 febf::1 fec0::1 feff::1 ff02::1 ff0e::1
ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
"""
)

ALLOWED = _words(
    """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 93.184.216.34 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255
192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255 ::ffff:8.8.8.8
2001:200::1 2001:4860:4860::8888 2003::1 2400:cb00::1 2600::1 2606:4700:4700::1111 2a00:1450::1 3000::1
"""
)


def test_the_tables_are_large_enough() -> None:
    assert len(set(FORBIDDEN)) >= 60


@pytest.mark.parametrize("address", FORBIDDEN)
def test_forbidden_addresses(address: str) -> None:
    target = parse("https://tool.example/")
    assert not AddressPolicy().permits(target, ip_address(address))
    refused_when_connecting(_client(address), "https://tool.example/")


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses(address: str) -> None:
    assert AddressPolicy().permits(parse("https://tool.example/"), ip_address(address))
    AddressPolicy().check(parse("https://tool.example/"), [ip_address(address)])


def refused_when_connecting(outbound: OutboundClient, url: str) -> None:
    with pytest.raises(Refused) as caught:
        outbound.request("GET", url, headers={}, timeout=5, max_bytes=1)
    assert caught.value.sent is False


def _client(*addresses: str, allow: str = "", **options: object) -> OutboundClient:
    networks = tuple(map(ip_network, allow.split()))
    return OutboundClient(networks, user_agent="test", resolve=lambda _host, _port: list(addresses), **options)  # type: ignore[arg-type]


REFUSED_URLS = [
    # 118, 119: loopback, in every spelling that libc understands
    "http://127.0.0.1/",
    "http://localhost/",
    "https://localhost/",
    "https://sub.localhost/",
    "https://LOCALHOST./",
    "http://[::1]/",
    "http://127.1/",
    "http://0/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
    "https://foo.1/",
    "https://foo.0x1/",
    # 120: digits and dots of other scripts
    "http://①②⑦.⓪.⓪.①/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://１２７.0.0.1/",
    "https://ｌocalhost/",
    # 122, 123
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:7f00:1::]/",
    "https://[fec0::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[fd00:ec2::254]/",
    "https://[::]/",
    # 124, 125
    "https://169.254.169.254/latest/meta-data/",
    "https://metadata.google.internal/",
    "https://metadata/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://198.18.0.1/",
    "https://0.0.0.0/",
    "https://255.255.255.255/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    # 128, 130: who is the host?
    "http://good.com@127.0.0.1/",
    "https://user:pw@good.com/",
    "https://@good.com/",
    "https://:@good.com/",
    "http://127.0.0.1#@good.com/",
    "http://a.com:80@127.0.0.1:22/",
    "https://good.com\\@127.0.0.1/",
    "https://127.0.0.1\\@good.com/",
    "https://127.0.0.1?@good.com/",
    "https://127.0.0.1;@good.com/",
    # 131: malformed
    "",
    "http:/\\127.0.0.1/",
    "http:\\\\good.com/",
    "https:///x",
    "https://",
    "https:good.com",
    "//good.com/",
    "good.com",
    "https://[good.com]/",
    "https://[::1/",
    "https://good..com/",
    "https://.good.com/",
    "https://-good.com/",
    "https://*.good.com/",
    # 132: other schemes
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "ftp://good.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "unix:///run/x.sock",
    "http+unix://x/",
    "httpss://good.com/",
    # 133: ports
    "https://good.com:22/",
    "https://good.com:6379/",
    "https://good.com:5432/",
    "https://good.com:0/",
    "https://good.com:65536/",
    "https://good.com:-1/",
    "https://good.com:80%20/",
    "https://good.com: 80/",
    "http://good.com:80/",
    # 135, and other things hidden in a host
    "http://foo.com%00.evil.com/",
    "https://foo.com%00.evil.com/",
    "https://foo%2ecom/",
    "https://good.com%2f@evil.com/",
    "https://good.com\x00/",
    " https://good.com/",
    "https://good.com/\r\nHost: evil.com",
    "https://good.com /",
    "https://good\t.com/",
    "https://good.com/\ud800",
    # 137: too long
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "example/",
    "https://good.com/" + "x" * 8_192,
    # names of somebody's own network
    "https://redis/",
    "https://db.local/",
    "https://printer.lan/",
    "https://hidden.onion/",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_refused_urls(url: str) -> None:
    """At creation and at connect time, whatever a resolver would say."""
    outbound = _client(PUBLIC)
    with pytest.raises(Refused):
        outbound.check_url(url)
    refused_when_connecting(outbound, url)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://good.com", "https://good.com/"),
        ("HTTPS://GOOD.com:443/a?b=c#d", "https://good.com/a?b=c"),
        ("https://good.com./", "https://good.com/"),
        ("https://good.com:/", "https://good.com/"),
        ("https://good.com:80/", "https://good.com:80/"),
        ("https://good.com/ä", "https://good.com/%C3%A4"),
        ("https://good.com/a/../b/./c", "https://good.com/b/c"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700:4700::1111]/x", "https://[2606:4700:4700::1111]/x"),
        ("https://my_tool.example/", "https://my_tool.example/"),
        ("https://" + "a" * 63 + ".com/", "https://" + "a" * 63 + ".com/"),
    ],
)
def test_urls_are_normalised(url: str, normal: str) -> None:
    assert _client(PUBLIC).check_url(url) == normal
    assert _client(PUBLIC).check_url(normal) == normal


@pytest.mark.parametrize("answers", [[PUBLIC, "10.0.0.1"], ["::1", PUBLIC], [PUBLIC] * 300 + ["169.254.169.254"]])
def test_one_forbidden_answer_among_many_refuses_the_name(answers: list[str]) -> None:
    refused_when_connecting(_client(*answers), "https://mixed.example/")


def test_at_creation_a_name_is_judged_by_its_form_and_nobody_is_asked() -> None:
    asked: list[str] = []

    def notes(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.0.0.1"]

    outbound = OutboundClient(user_agent="test", resolve=notes)
    assert outbound.check_url("https://later.example/") == "https://later.example/"
    for url in ("http://later.example/", "https://later.example:8443/", "https://metadata.google.internal/"):
        with pytest.raises(Refused):
            outbound.check_url(url)
    assert asked == []


# -- what the operator allows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3:9000/",
        "http://tool.example:9000/",
        "http://tool/",
        "https://tool.internal/",
        "http://[::ffff:10.1.2.3]/",
    ],
)
def test_allowed_networks_may_be_private_on_any_port_over_plain_http(url: str) -> None:
    outbound = _client("10.1.2.3", allow="10.0.0.0/8")
    assert outbound.check_url(url, operator=True)
    outbound._policy.check(parse(url), [ip_address("10.1.2.3")])


def test_users_name_hosts_of_allowed_networks_by_names_that_only_those_have() -> None:
    """What looks public has to be reached as the public is: it may well lead there."""
    outbound = _client("10.1.2.3", allow="10.0.0.0/8")
    assert outbound.check_url("http://tool:9000/")
    assert outbound.check_url("http://tool.internal/")
    for url in ("http://tool.example/", "https://tool.example:9000/", "http://metadata.google.internal/"):
        with pytest.raises(Refused):
            outbound.check_url(url)


@pytest.mark.parametrize(
    "url", ["http://11.1.2.3/", "http://192.168.0.1/", "http://8.8.8.8/", "http://127.0.0.1/", "http://localhost/"]
)
def test_what_is_outside_the_allowed_networks_stays_as_it_was(url: str) -> None:
    refused_when_connecting(_client("10.1.2.3", allow="10.0.0.0/8"), url)
    with pytest.raises(Refused):
        _client("10.1.2.3", allow="10.0.0.0/8").check_url(url)


def test_every_address_must_be_allowed() -> None:
    refused_when_connecting(_client("10.1.2.3", "192.168.0.1", allow="10.0.0.0/8"), "https://tool.example/")


def test_localhost_is_loopback_whatever_a_resolver_says() -> None:
    assert _client(PUBLIC, allow="127.0.0.0/8").check_url("http://localhost:8000/")
    assert _client(PUBLIC, allow="127.0.0.0/8").check_url("http://app.localhost:8000/")


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "169.254.170.2",
        "64:ff9b:1::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "fe80::a9fe:a9fe",
    ],
)
def test_metadata_is_never_allowed(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for url in (f"http://{host}/", "http://tool.example/"):
        refused_when_connecting(_client(address, allow="0.0.0.0/0 ::/0"), url)


def test_our_own_services_are_refused_even_where_allowed() -> None:
    sentinels = "redis+sentinel://s1,s2:26380/mymaster"
    several = ("postgresql://u:p@db1:5434,db2/x?port=5435", "amqp://u:p@r1:5673//;amqp://u:p@r2//")
    servers = ("redis://10.0.0.5/0", "postgresql+psycopg://u:p@db.example/x", sentinels, *several, None)
    forbid = own_services("http://localhost:8000", *servers)
    outbound = _client("10.0.0.5", allow="127.0.0.0/8 10.0.0.0/8", forbid=forbid)
    for url in (
        "http://localhost:8000/",
        "http://127.0.0.1:8000/x",
        "http://10.0.0.5:6379/",
        "http://tool.example:6379/",
        "http://db.example:5432/",
        "http://10.0.0.9:5432/",  # what db.example resolves to is not for us to know once and for all
        "http://alias.example:5432/",
        "http://alias.example:26379/",
        "http://alias.example:26380/",
        "http://alias.example:5434/",
        "http://alias.example:5435/",
        "http://alias.example:5673/",
        "http://alias.example:5672/",
        "http://[::ffff:10.0.0.9]:6379/",
    ):
        refused_when_connecting(outbound, url)
    for url in ("http://localhost:8000/", "http://10.0.0.5:6379/", "http://db.example:5432/"):
        with pytest.raises(Refused):
            outbound.check_url(url, operator=True)
    assert outbound.check_url("http://127.0.0.1:8001/")
    assert outbound.check_url("http://10.0.0.5:8000/")
