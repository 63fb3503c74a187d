"""Settings: what is given, then the environment, then defaults."""

from pathlib import Path

from client.config import TRACKER, Config


def test_defaults_follow_the_home_folder() -> None:
    config = Config.make(environment={"HOME": "/h"})
    assert config.home == Path("/h/.local/share/openswarm")
    assert config.images == Path("/h/.cache/openswarm")
    assert config.key == config.home / "key"
    assert config.tracker == TRACKER


def test_the_environment_comes_before_defaults_and_options_before_it() -> None:
    environment = {
        "HOME": "/h",
        "SWARM_HOME": "/s",
        "SWARM_CACHE": "/c",
        "SWARM_KEY": "/k",
        "SWARM_TRACKER": "http://t",
    }
    config = Config.make(environment=environment)
    assert (config.home, config.images, config.key) == (Path("/s"), Path("/c"), Path("/k"))
    assert config.tracker == "http://t"
    config = Config.make(home=Path("/o"), tracker="http://u", environment=environment)
    assert (config.home, config.tracker, config.key) == (Path("/o"), "http://u", Path("/k"))


def test_xdg_folders_count_only_when_absolute() -> None:
    config = Config.make(environment={"HOME": "/h", "XDG_DATA_HOME": "/x", "XDG_CACHE_HOME": "y"})
    assert config.home == Path("/x/openswarm")
    assert config.images == Path("/h/.cache/openswarm")
