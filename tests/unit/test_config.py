"""Settings: five sources in their order, clear refusals, and a shipped file that tells the truth."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from chimera.config import (
    Loaded,
    Settings,
    SupervisorSettings,
    declared,
    default_toml,
    in_force,
    load,
    node_name,
    settings_table,
)
from chimera.errors import BadSettingError
from chimera.paths import configs_dir, profile_names

HOME = {"HOME": "/home/somebody"}


def file_with(tmp_path: Path, text: str) -> Path:
    """A configuration file."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def loaded(tmp_path: Path, text: str = "", env: dict[str, str] | None = None, **flags: object) -> Loaded:
    """Settings from a file, variables and flags (``__`` for the dot)."""
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return load(file=file_with(tmp_path, text), env={**HOME, **(env or {})}, flags=given)


def test_shipped_defaults_are_the_declared_ones():
    """The shipped file holds every setting with its meaning and default, exactly as the code declares them."""
    assert default_toml() in (configs_dir() / "default.toml").read_text()


def test_code_and_file_agree():
    """Loading the shipped file changes no declared default, except what is derived from the machine."""
    settings = load(env=HOME).settings
    for section in ("nats", "http", "sandbox", "store", "log", "agent"):
        assert getattr(settings, section) == getattr(Settings(), section)


@pytest.mark.parametrize("profile", profile_names())
def test_every_shipped_profile_loads(profile: str):
    """Each profile is complete and valid, and says so itself."""
    found = load(profile, env=HOME)
    assert found.settings.node.profile == profile
    assert found.settings.supervision.children


def test_order_of_sources(tmp_path: Path):
    """Flags win over variables, variables over the file, the file over the profile, the profile over what ships."""
    path = file_with(tmp_path, "[sandbox]\nworkers = 3\nmax_waiting = 33\nallow_inline = true\n")
    env = {**HOME, "CHIMERA_SANDBOX__WORKERS": "4", "CHIMERA_SANDBOX__MAX_WAITING": "44"}
    found = load("edge", path, env, {"sandbox.workers": 5})
    sandbox = found.settings.sandbox
    assert (sandbox.workers, sandbox.max_waiting, sandbox.allow_inline) == (5, 44, True)
    assert sandbox.memory_limit_bytes == 64 << 20
    assert found.sources["sandbox.workers"] == "flag"
    assert found.sources["sandbox.max_waiting"] == "CHIMERA_SANDBOX__MAX_WAITING"
    assert found.sources["sandbox.allow_inline"] == f"file {path}"
    assert found.sources["sandbox.memory_limit_bytes"] == "profile edge"
    assert found.sources["sandbox.cache_dir"] == "default"


def test_every_setting_has_its_variable():
    """Each setting can be set by the variable that the table names, to the default that the table shows."""
    for one in declared():
        text = one.kind.show(one.default).strip('"')
        if one.kind.name == "list":
            text = ",".join(one.default)
        found = load(env={**HOME, one.variable: text})
        assert found.sources[one.key] == one.variable or not text


def test_every_source_is_told():
    """There is a source for every setting, and a value to show."""
    found = load(env=HOME)
    rows = {row.name: row for row in in_force(found)}
    assert {one.key for one in declared()} <= set(found.sources)
    assert set(rows) == {row.name for row in settings_table()} | {"supervision"}
    assert rows["node.data_dir"].source == "home folder"


def test_nested_variable():
    """Double underscores separate the parts of a name."""
    found = load(env={**HOME, "CHIMERA_HTTP__PORTS__AGENT": "9000"})
    assert found.settings.http.ports.agent == 9000


@pytest.mark.parametrize(
    ("env", "key", "value"),
    [
        ({"WASM_MEMORY_LIMIT": "2Gi"}, "sandbox.memory_limit_bytes", "2Gi"),
        ({"WASM_MEMORY_LIMIT": "1048576"}, "sandbox.memory_limit_bytes", "1Mi"),
        ({"LOG_LEVEL": "DEBUG"}, "log.level", "debug"),
        ({"LOG_LEVEL": "WARN"}, "log.level", "warning"),
        ({"NATS_SERVER": "/opt/nats-server"}, "nats.server", "/opt/nats-server"),
        (
            {"WASM_MEMORY_LIMIT": "2Gi", "CHIMERA_SANDBOX__MEMORY_LIMIT_BYTES": "1Gi"},
            "sandbox.memory_limit_bytes",
            "1Gi",
        ),
        ({"LOG_LEVEL": ""}, "log.level", "info"),
        ({"CHIMERA_STORE": "sqlite:///x"}, "store.url", "sqlite:///x"),
        ({"CHIMERA_STORE": "sqlite:///x", "CHIMERA_STORE__URL": "sqlite:///y"}, "store.url", "sqlite:///y"),
        ({"CHIMERA_STORE": "postgresql://me:p@ss@db/x"}, "store.url", "postgresql://***@db/x"),
        (
            {"CHIMERA_STORE": "postgresql://db/x?password=p&sslmode=require"},
            "store.url",
            "postgresql://db/x?password=***&sslmode=require",
        ),
    ],
)
def test_other_names_of_variables(env: dict[str, str], key: str, value: str):
    """The runbook's variables work, below the setting's own; an empty one counts as unset; no password is shown."""
    rows = {row.name: row.value.strip('"') for row in in_force(load(env={**HOME, **env}))}
    assert rows[key] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http]\nprots = 1", "there is no setting http.prots; did you mean http.ports"),
        ("[sandbox]\nmemory_limit = 1", "did you mean sandbox.memory_limit_bytes"),
        ("[log]\nlevel = 'loud'", "log.level is 'loud' (file {path}); it must be one of debug, info, warning, error"),
        ("[nats]\nport = '4222'", "nats.port is '4222' (file {path}); it must be a whole number from 0 to 65535"),
        ("[nats]\nport = 70000", "nats.port is 70000"),
        ("[nats]\nport = true", "nats.port is True"),
        ("[nats]\nport = 1.5", "nats.port is 1.5"),
        ("[http]\nmax_body_bytes = '1 parsec'", "it must be a size from 1Ki to 64Mi, such as 16Mi"),
        ("[http]\nbody_timeout_s = 0", "it must be a duration from 100ms to 1h"),
        ("[http]\nbody_timeout_s = nan", "body_timeout_s"),
        ("[http]\nbody_timeout_s = '15'", "body_timeout_s"),
        ("[agent]\nrecord_inputs = 1", "agent.record_inputs is 1 (file {path}); it must be true or false"),
        ("[node]\nroles = ['agent', 'cook']", "node.roles"),
        ("[node]\nroles = []", "node.roles"),
        ("[node]\nname = 'a.b'", "node.name is 'a.b'"),
        ("http = 5", "there is no setting http"),
        ("[http]\nhost = [1]", "http.host is [1]"),
        ("not toml", "is not TOML"),
        ("[http.ports]\nagent = 8001", "give each its own port"),
        ("[nats]\nport = 8003", "http.ports.evolution"),
    ],
)
def test_refusals_name_the_setting_its_source_and_what_is_allowed(tmp_path: Path, text: str, said: str):
    """A wrong file is refused with one sentence that says what to change."""
    with pytest.raises(BadSettingError) as refused:
        loaded(tmp_path, text)
    assert said.format(path=tmp_path / "mine.toml") in refused.value.detail


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"CHIMERA_HTTP__HOTS": "x"}, "did you mean CHIMERA_HTTP__HOST"),
        ({"CHIMERA_LOG_LEVEL": "info"}, "did you mean CHIMERA_LOG__LEVEL"),
        ({"CHIMERA_NATS__PORT": "many"}, "nats.port is 'many' (CHIMERA_NATS__PORT)"),
        ({"WASM_MEMORY_LIMIT": "lots"}, "sandbox.memory_limit_bytes is 'lots' (WASM_MEMORY_LIMIT)"),
        ({"CHIMERA_NODE__PROFILE": "moon"}, "there is no profile 'moon'"),
    ],
)
def test_wrong_variables(env: dict[str, str], said: str):
    """A variable that is no setting, or holds nonsense, is refused by its name."""
    with pytest.raises(BadSettingError) as refused:
        load(env={**HOME, **env})
    assert said in refused.value.detail


def test_what_kubernetes_injects_is_no_setting():
    """Beside a service called chimera every pod gets such variables; they must not stop the start."""
    env = {"CHIMERA_SERVICE_HOST": "10.0.0.1", "CHIMERA_PORT": "tcp://10.0.0.1:8000", "CHIMERA_PORT_8000_TCP_ADDR": "x",
           "CHIMERA_SERVICE_PORT_HTTP": "8000", "CHIMERA_NATS_SERVICE_HOST": "10.0.0.2"}  # fmt: skip
    assert load(env={**HOME, **env}).settings.http.ports.agent == 8000


def test_wrong_flag_and_unset_flag():
    """An unknown flag is refused; one that was not given says nothing."""
    with pytest.raises(BadSettingError, match=r"flag: there is no setting http\.prot"):
        load(env=HOME, flags={"http.prot": 1})
    assert load(env=HOME, flags={"http.host": None}).sources["http.host"] == "default"


def test_missing_file_is_named(tmp_path: Path):
    """A --config file that is not there is an error, not ignored."""
    with pytest.raises(BadSettingError, match=r"gone\.toml can't be read"):
        load(file=tmp_path / "gone.toml", env=HOME)


def test_profile_from_variable_and_file(tmp_path: Path):
    """The profile is taken from the argument, else the variable, else the file."""
    path = file_with(tmp_path, "[node]\nprofile = 'edge'\n")
    assert load(file=path, env=HOME).settings.sandbox.workers == 1
    assert load(file=path, env={**HOME, "CHIMERA_NODE__PROFILE": "default"}).settings.sandbox.workers == 0
    assert load(file=path, env=HOME, flags={"node.profile": "default"}).settings.sandbox.workers == 0
    assert load("default", path, {**HOME, "CHIMERA_NODE__PROFILE": "edge"}).settings.sandbox.workers == 0


def test_data_folder():
    """The data folder follows XDG, or the home folder, or what is set, with ~ resolved."""
    assert load(env={"XDG_DATA_HOME": "/x"}).settings.node.data_dir == "/x/chimera"
    assert load(env=HOME).settings.node.data == Path("/home/somebody/.local/share/chimera")
    assert load(env={**HOME, "CHIMERA_NODE__DATA_DIR": "/srv"}).settings.node.data_dir == "/srv"
    assert "~" not in load(env={**HOME, "CHIMERA_NODE__DATA_DIR": "~/c"}).settings.node.data_dir


@pytest.mark.parametrize(
    ("host", "name"),
    [("pi-4.lan", "pi-4"), ("Büro", "B-ro"), ("", "node"), ("...", "node"), ("a" * 80, "a" * 64), ("-x-", "x")],
)
def test_node_name_is_a_token(host: str, name: str):
    """Any host's name gives a valid subject token."""
    assert node_name(host) == name


def test_passwords_in_urls_are_not_shown():
    """The values in force are shown without the password of a URL, and errors do not repeat it either."""
    found = load(env={**HOME, "CHIMERA_NATS__URL": "nats://me:hunter2@host:4222"})
    assert found.settings.nats.url == "nats://me:hunter2@host:4222"
    shown = {row.name: row.value for row in in_force(found)}
    assert shown["nats.url"] == '"nats://***@host:4222"'
    with pytest.raises(BadSettingError) as refused:
        load(env={**HOME, "CHIMERA_LOG__LEVEL": "nats://me:hunter2@host"})
    assert "hunter2" not in refused.value.detail


def test_tree_can_be_changed_in_part(tmp_path: Path):
    """Strategy alone keeps the shipped children; children given replace them all."""
    shipped = load(env=HOME).settings.supervision
    found = loaded(tmp_path, "[supervision]\nstrategy = 'one_for_all'\n")
    assert found.settings.supervision.strategy == "one_for_all"
    assert found.settings.supervision.children == shipped.children
    assert found.sources["supervision.strategy"].startswith("file")
    one = loaded(tmp_path, "[[supervision.children]]\nid = 'mine'\nactor = 'my.actors:Mine'\nroles = ['agent']\n")
    [child] = one.settings.supervision.children
    assert (child.id, child.roles, child.restart) == ("mine", ("agent",), "permanent")


def test_tree_nests(tmp_path: Path):
    """A child with children is a supervisor of its own."""
    text = """
    [[supervision.children]]
    id = "inner"
    strategy = "one_for_all"
    intensity = 1
    [[supervision.children.children]]
    id = "leaf"
    actor = "service-name"
    restart = "transient"
    """
    [inner] = loaded(tmp_path, text).settings.supervision.children
    assert isinstance(inner, SupervisorSettings)
    assert (inner.strategy, inner.intensity, inner.children[0].restart) == ("one_for_all", 1, "transient")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strategy = 'all'", "supervision.strategy must be one of one_for_one"),
        ("intensity = 1.5", "supervision.intensity must be a whole number"),
        ("period_s = 0", "supervision.period_s must be a number from 0.1"),
        ("intensty = 1", "did you mean intensity"),
        ("children = 5", "children must be a list"),
        ("children = [5]", "children[0] must be a table"),
        ("children = [{id = 'a'}]", "children[0].actor must be"),
        ("children = [{id = 'a', actor = 'm:C', restart = 'never'}]", "children[0].restart"),
        ("children = [{id = 'a', actor = 'm:C', roles = ['cook']}]", "children[0].roles"),
        ("children = [{id = 'a.b', actor = 'm:C'}]", "children[0].id"),
        ("children = [{id = 'a', actor = 'os; evil'}]", "children[0].actor"),
        ("children = [{id = 'a', actor = 'm:C'}, {id = 'a', actor = 'm:D'}]", "the id a is used by two"),
        ("children = [{id = 'a', actor = 'm:C', shutdown = 1}]", "did you mean shutdown_s"),
    ],
)
def test_wrong_trees(tmp_path: Path, text: str, said: str):
    """A tree that can't work is refused with the place and what is allowed there."""
    with pytest.raises(BadSettingError) as refused:
        loaded(tmp_path, f"[supervision]\n{text}\n")
    assert said in refused.value.detail


def test_table_is_complete():
    """Every row of the table has a default that TOML reads, a type, what is allowed, a variable and a meaning."""
    rows = settings_table()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        tomllib.loads(f"x = {row.default}")
        assert row.type
        assert row.allowed
        assert row.meaning
        assert row.variables[0] == "CHIMERA_" + row.name.upper().replace(".", "__")
    aliases = {row.name: row.variables[1:] for row in rows if row.variables[1:]}
    assert aliases["sandbox.memory_limit_bytes"] == ("WASM_MEMORY_LIMIT",)


def test_shipped_files_are_found_in_a_checkout_and_in_a_wheel(tmp_path: Path):
    """Beside a pyproject.toml the checkout's folder is used, else the copy inside the package."""
    package = tmp_path / "chimera"
    (tmp_path / "configs").mkdir()
    assert configs_dir(package) == package / "_shipped" / "configs"
    (tmp_path / "pyproject.toml").write_text("")
    assert configs_dir(package) == tmp_path / "configs"
