"""Settings from flags and the environment (PROTOCOL.md section 8)."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.cli import command, main, serve_settings
from chatsvc.client.ask import AskSettings
from chatsvc.settings import (
    BadSetting,
    Settings,
    flag,
    read_settings,
    unknown_variables,
    variable,
)

NAMES = [s.name for s in fields(Settings) if not s.metadata["flagless"]]
FLAGLESS = [s.name for s in fields(Settings) if s.metadata["flagless"]]

GOOD = [
    ("host", "::1", ("::1",)),
    ("host", "", ("",)),
    ("uds", "/run/chatsvc.sock", "/run/chatsvc.sock"),
    ("uds_mode", "600", 0o600),
    ("uds_mode", "0666", 0o666),
    ("ssl_certfile", "cert.pem", "cert.pem"),
    ("ssl_keyfile", "key.pem", "key.pem"),
    ("app_dir", "", ""),
    ("app_dir", "/", "/"),
    ("port", "0", 0),
    ("port", "65535", 65535),
    ("admin_port", "9000", ("127.0.0.1", 9000)),
    ("admin_port", "0.0.0.0:9000", ("0.0.0.0", 9000)),
    ("admin_port", "[::]:0", ("::", 0)),
    ("admin_port", "node1.internal:65535", ("node1.internal", 65535)),
    ("backend", "echo", "echo"),
    ("backend", "my.module:answer", "my.module:answer"),
    ("pace", "0", 0.0),
    ("pace", ".05", 0.05),
    ("openai_url", "https://models.example/v1", "https://models.example/v1"),
    ("openai_models", "vendor/m:free", ("vendor/m:free",)),
    ("openai_models", "*", ("*",)),
    ("openai_forward", "no", "no"),
    ("openai_timeout", "0.5", 0.5),
    ("openai_extra", '{"top_p": 0.9}', '{"top_p": 0.9}'),
    ("model", "/models/small.gguf", "/models/small.gguf"),
    ("temperature", "0.7", 0.7),
    ("max_tokens", "512", 512),
    ("store", "memory", "memory"),
    ("store", "rediss+sentinel://h/m", "rediss+sentinel://h/m"),
    ("store_prefix", "chat.test:2_-", "chat.test:2_-"),
    ("grace", "0", 0.0),
    ("keep", "3600", 3600.0),
    ("max_reply", "1", 1),
    ("max_reply", "64KiB", 64 * 1024),
    ("max_parts", "8MiB", 8 * 1024 * 1024),
    ("max_message", "2 MiB", 2 * 1024**2),
    ("max_files", "8MiB", 8 * 1024**2),
    ("max_replies", "1", 1),
    ("max_per_client", "0", 0),
    ("max_starts", "0", 0),
    ("max_readers", "7", 7),
    ("max_connections", "7", 7),
    ("limits", "off", "off"),
    ("allow_origin", "https://Chat.Example:8443", ("https://chat.example:8443",)),
    ("allow_origin", "http://[::1]:80", ("http://[::1]:80",)),
    ("allow_origin", "*", ("*",)),
    ("allow_header", "X-Session", ("X-Session",)),
    ("allow_host", "Chat.Example.", ("chat.example",)),
    ("allow_host", ".Example", (".example",)),
    ("allow_host", "*", ("*",)),
    ("allow_host", "聊天.example", ("xn--rss932g.example",)),
    ("allow_host", "[FD00::0001]", ("fd00::1",)),
    ("allow_host", "::ffff:192.0.2.1", ("192.0.2.1",)),
    ("allow_host", "my_service", ("my_service",)),
    ("trusted_proxy", "10.0.0.0/8", ("10.0.0.0/8",)),
    ("trusted_proxy", "192.0.2.1", ("192.0.2.1/32",)),
    ("trusted_proxy", "FD00::/8", ("fd00::/8",)),
    ("max_memory", "512MiB", 512 * 1024**2),
    ("max_memory", "2GiB", 2 * 1024**3),
    ("max_memory", "1000000", 1_000_000),
    ("title", " Ask Ada 问 ", "Ask Ada 问"),
    ("accent", "#2A6a5d", "#2a6a5d"),
    ("accent", "#28f", "#2288ff"),
    ("accent", "28f", "#2288ff"),
    ("starters", "/etc/chatsvc/starters.txt", "/etc/chatsvc/starters.txt"),
    ("drain", "2.5", 2.5),
    ("log_format", "json", "json"),
]

BAD = [
    ("port", ["", "x", "-1", "65536", "80.5", "٣x"], "a port from 0 to 65535"),
    (
        "admin_port",
        ["", "x", "-1", "65536", ":9000", "::1", "::1:9000", "[::1]", "[x]:1", "a:"]
        + ["a:b", "a:1:2", "[::1]9000", "٣"],
        "a port, as 9000, or an address with one, as 0.0.0.0:9000",
    ),
    ("backend", ["", "nothing", ":f", "m:", "m:f()", "a b:c", "a:b:c"], "echo"),
    ("app_dir", ["/nowhere", "/dev/null"], "a folder that is there"),
    ("uds_mode", ["", "6", "66", "0o660", "888", "00660", "1777", "٦٦٠"], "digits"),
    ("pace", ["", "-0.1", "nan", "inf", "1s", "1e400"], "a number of seconds"),
    ("openai_url", ["", "x", "ftp://x", "http://", "http://[::1", "http://x:y"], "URL"),
    (
        "openai_models",
        ["\x00", "x" * 257],
        "names of models, as gpt-5,gpt-5-mini, or *",
    ),
    ("openai_forward", ["", "true", "No"], "yes, no"),
    ("openai_timeout", ["0", "-1", "x"], "a number of seconds above 0"),
    ("openai_extra", ["", "[]", "x", "[" * 100_000], "a JSON object"),
    ("temperature", ["-1", "warm"], "a number, 0 or more"),
    ("max_tokens", ["0", "1.5"], "a whole number, 1 or more"),
    ("store", ["", "disk", "ftp://x"], "memory"),
    ("store_file", ["/nowhere", "/"], "a file"),
    ("store_prefix", ["", "a b", "{0}", "a*", "é", "x" * 65], "letters, digits"),
    ("workers", ["0", "-1", "1025", "10000000"], "a whole number from 1 to 1024"),
    ("grace", ["-1", "soon"], "a number of seconds"),
    ("keep", ["-1", "nan"], "a number of seconds"),
    ("max_reply", ["", "0", "-1", "1kB", "1.5MiB", "KiB", "²", "9" * 5000], "bytes"),
    ("max_message", ["0", "x"], "bytes"),
    ("max_files", ["0", "x", "4 GB"], "bytes"),
    ("max_memory", ["0", "512MB", "half", "1TiB"], "bytes"),
    ("max_replies", ["0", "1.5", "many"], "a whole number, 1 or more"),
    ("max_per_client", ["-1", ""], "a whole number, 0 or more"),
    ("limits", ["no", ""], "one of on, off"),
    (
        "allow_origin",
        ["chat.example", "ftp://x", "https://", "https://x/", "https://x?y"]
        + ["https://x#y", "https://[::1", "https://a@b", "https://x:99999", "null"],
        "an origin, as https://chat.example",
    ),
    ("allow_header", ["*", "X:", "X/Y", "é"], "X-Session"),
    (
        "allow_host",
        [".", "..", "a..b", "chat.example:80", "http://chat.example", "a/b"]
        + ["*.example", "[::1", "::g", "a@b", "x" * 64, "a." * 128 + "a", "10.0.0.0/8"],
        "a host without its port, as chat.example, .example for all below it, or *",
    ),
    (
        "trusted_proxy",
        ["10.0.0.1/8", "10.0.0.0/33", "chat.example", "*", "10.0.0", "::1/129"],
        "an address or a network, as 10.0.0.0/8",
    ),
    ("title", ["", " ", "x" * 61, "a\nb", "a\u202eb"], "a name of 1 to 60 characters"),
    (
        "accent",
        ["", "green", "#12", "#1234", "#12345678", "##123", "#12345g", "#１２３"],
        "a colour, as #2a6a5d",
    ),
    ("drain", ["-1", "x"], "a number of seconds"),
    ("log_format", ["", "xml", "JSON"], "text, json"),
]


def parse(*words: str) -> dict[str, object]:
    return command.commands["serve"].make_context("serve", list(words)).params


def test_without_anything_the_defaults_are_those_of_the_contract() -> None:
    settings = serve_settings(parse(), {})
    assert settings == Settings()
    assert (settings.hosts, settings.port, settings.backend) == (
        ("127.0.0.1",),
        3000,
        "echo",
    )
    assert (settings.grace, settings.keep, settings.drain) == (30, 300, 10)
    assert (settings.max_reply, settings.max_message) == (256 * 1024, 32 * 1024)
    assert (settings.max_files, settings.openai_models) == (4 * 1024 * 1024, ())
    assert (settings.max_replies, settings.max_per_client) == (10_000, 200)


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_flag_and_a_variable_say_the_same(
    name: str, text: str, value: object
) -> None:
    by_flag = serve_settings(parse(f"{flag(name)}={text}"), {})
    by_variable = serve_settings(parse(), {variable(name): text})
    assert getattr(by_flag, name) == value
    assert by_flag == by_variable


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [(n, text, takes) for n, all, takes in BAD for text in all],
)
def test_a_bad_value_is_one_line_that_names_its_source_and_what_it_takes(
    name: str, text: str, takes: str
) -> None:
    with pytest.raises(BadSetting) as by_flag:
        serve_settings(parse(f"{flag(name)}={text}"), {})
    line = str(by_flag.value)
    assert line.startswith(f"{flag(name)} takes ")
    assert takes in line
    assert "\n" not in line
    with pytest.raises(BadSetting) as by_variable:
        serve_settings(parse(), {variable(name): text})
    assert str(by_variable.value) == line.replace(flag(name), variable(name), 1)


def test_the_flag_of_a_switch_takes_nothing_and_its_variable_yes_or_no() -> None:
    assert not serve_settings(parse(), {}).open
    assert serve_settings(parse("--open"), {}).open
    assert serve_settings(parse("--open"), {"CHATSVC_OPEN": "no"}).open
    assert serve_settings(parse(), {"CHATSVC_OPEN": "yes"}).open
    assert not serve_settings(parse(), {"CHATSVC_OPEN": "no"}).open
    for text in ("", "1", "YES", "true"):
        with pytest.raises(BadSetting, match="^CHATSVC_OPEN takes yes or no, not"):
            serve_settings(parse(), {"CHATSVC_OPEN": text})


def test_a_flag_wins_over_a_variable() -> None:
    environment = {"CHATSVC_PORT": "no number", "CHATSVC_KEEP": "7"}
    settings = serve_settings(parse("--port=80"), environment)
    assert (settings.port, settings.keep) == (80, 7)


@pytest.mark.parametrize("name", ["store", "openai_url"])
def test_no_repr_shows_an_address_with_a_password(name: str) -> None:
    text = "http://anna:s3cret@models.example/v1"
    assert "s3cret" not in repr(replace(Settings(), **{name: text}))  # type: ignore[arg-type]


def test_an_origin_may_be_given_more_than_once() -> None:
    both = ("https://a.example", "http://b.example:81")
    by_flag = parse("--allow-origin", both[0], "--allow-origin", both[1])
    assert serve_settings(by_flag, {}).allow_origin == both
    by_variable = {"CHATSVC_ALLOW_ORIGIN": ", ".join(both)}
    assert serve_settings(parse(), by_variable).allow_origin == both


def test_a_switch_is_a_flag_without_a_value_and_a_variable_with_one() -> None:
    assert not Settings().allow_credentials
    assert serve_settings(parse("--allow-credentials"), {}).allow_credentials
    for text, value in (("yes", True), ("no", False)):
        by_variable = serve_settings(parse(), {"CHATSVC_ALLOW_CREDENTIALS": text})
        assert by_variable.allow_credentials is value
    for text in ("", "true", "1"):
        with pytest.raises(BadSetting, match=r"^CHATSVC_ALLOW_CREDENTIALS takes .*no"):
            serve_settings(parse(), {"CHATSVC_ALLOW_CREDENTIALS": text})
    off = {"CHATSVC_ALLOW_CREDENTIALS": "no"}
    assert serve_settings(parse("--allow-credentials"), off).allow_credentials


@pytest.mark.parametrize("name", NAMES)
def test_the_help_names_the_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    assert f"  {flag(name)} " in capsys.readouterr().out


def test_hosts_are_several_flags_or_one_variable() -> None:
    both = ("127.0.0.1", "::1")
    by_flag = serve_settings(parse("--host", both[0], "--host", both[1]), {})
    by_variable = serve_settings(parse(), {"CHATSVC_HOST": "127.0.0.1,::1"})
    assert by_flag.hosts == by_variable.hosts == both
    assert Settings(host="::1").hosts == ("::1",)  # type: ignore[arg-type]


def test_a_unix_socket_takes_the_place_of_the_default_address_alone() -> None:
    assert Settings(uds="/run/x").hosts == ()
    assert Settings(uds="/run/x", host=("127.0.0.1",)).hosts == ("127.0.0.1",)


def test_settings_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        Settings("0.0.0.0")  # type: ignore[call-arg]


OF_KUBERNETES = {
    "CHATSVC_PORT": "tcp://10.0.0.1:8000",
    "CHATSVC_SERVICE_HOST": "10.0.0.1",
    "CHATSVC_SERVICE_PORT": "8000",
    "CHATSVC_SERVICE_PORT_HTTP": "8000",
    "CHATSVC_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "CHATSVC_PORT_8000_TCP_PROTO": "tcp",
    "CHATSVC_PORT_8000_TCP_PORT": "8000",
    "CHATSVC_PORT_8000_TCP_ADDR": "10.0.0.1",
    "CHATSVC_PORT_53_UDP": "udp://[fd00::1]:53",
    "CHATSVC_REDIS_PORT": "tcp://[fd00::1]:6379",
    "CHATSVC_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
    "CHATSVC_REDIS_SERVICE_HOST": "10.0.0.2",
    "CHATSVC_REDIS_2_SERVICE_PORT_RESP": "6379",
    "CHATSVC_ADMIN_PORT": "tcp://10.0.0.3:9000",
    "CHATSVC_ADMIN_SERVICE_HOST": "10.0.0.3",
}


def test_what_kubernetes_says_of_its_services_is_passed_over() -> None:
    assert serve_settings(parse(), OF_KUBERNETES) == Settings()
    assert unknown_variables([Settings], OF_KUBERNETES) == []


@pytest.mark.parametrize(
    "text",
    ["tcp://", "tcp://0.0.0.0:80", "tcp://127.0.0.1:80", "tcp://[::]:80", "tcp://a:80"]
    + ["http://10.0.0.1:80", "tcp://10.0.0.1", "tcp://10.0.0.1:80/", "10.0.0.1:80"],
)
def test_another_address_in_the_variable_of_a_port_is_a_mistake(text: str) -> None:
    with pytest.raises(BadSetting, match="^CHATSVC_PORT takes a port from 0 to 65535"):
        serve_settings(parse(), {"CHATSVC_PORT": text})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CHATSVC_MAX_REPLIS", "CHATSVC_MAX_REPLIES"),
        ("CHATSVC_MAX_REPLYS", "CHATSVC_MAX_REPLY"),
        ("CHATSVC_APIKEYS", "CHATSVC_API_KEYS"),
        ("CHATSVC_HOSTS", "CHATSVC_HOST"),
        ("CHATSVC_Port", "CHATSVC_PORT"),
        ("CHATSVC_ALLOWED_ORIGIN", "CHATSVC_ALLOW_ORIGIN"),
        ("CHATSVC_TOKEN", None),
        ("CHATSVC_", None),
        ("CHATSVC_REDIS_PORT", None),
        ("CHATSVC_PORT_8000_TCP_NAME", None),
    ],
)
def test_an_unknown_variable_is_a_line_that_names_what_may_be_meant(
    name: str, near: str | None
) -> None:
    environment = {name: "s3cret", "CHATSVC_KEEP": "1", "PATH": "/bin", "CHATSVC": "x"}
    [line] = unknown_variables([Settings, AskSettings], environment)
    end = "" if near is None else f": did you mean {near}?"
    assert line == f"{name} is no variable of chatsvc{end}"


@given(
    st.dictionaries(
        st.text("CHATSV_PORT0").map("CHATSVC_".__add__) | st.text(max_size=20),
        st.text(max_size=20) | st.just("tcp://10.0.0.1:80"),
    )
)
def test_no_environment_is_too_odd_to_be_looked_at(environment: dict[str, str]) -> None:
    lines = unknown_variables([Settings], environment)
    assert len(lines) <= len(environment)
    assert all(name.startswith("CHATSVC_") for name in lines)


@pytest.mark.parametrize("name", FLAGLESS)
def test_a_secret_is_read_from_its_variable_and_has_no_flag(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = serve_settings(parse(), {variable(name): "a-secret-of-length"})
    assert getattr(settings, name) == "a-secret-of-length"
    assert "a-secret-of-length" not in repr(settings)
    assert main(["serve", flag(name), "a-secret-of-length"]) == 2
    assert main(["serve", "--help"]) == 0
    assert f"{flag(name)} " not in capsys.readouterr().out


def test_only_its_own_variables_are_read_for_a_command() -> None:
    environment = {"CHATSVC_URL": "http://x/?a=b", "CHATSVC_TOKEN": "t"}
    settings = read_settings(AskSettings, {}, environment)
    assert (str(settings.url), settings.transport) == ("http://x/", "auto")
