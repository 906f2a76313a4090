"""The settings of the commands: flag, environment variable, default and format of each.

`Settings` are those of `chatsvc serve` and of `create_app`; `chatsvc.client` has those of `ask` and
`doctor`. A setting is written down once, in the class of its group:

    address · backend · replies · limits · users · page · process · logs    the groups
    environment    how settings are read from flags and variables
    files          the reading of files that settings name
    definition     what a setting is: its field, its flag, its variable and its group

Each module imports only those below it.
"""

from dataclasses import dataclass

from chatsvc.settings.address import AddressSettings
from chatsvc.settings.backend import BackendSettings
from chatsvc.settings.definition import (
    BadSetting,
    CommandSettings,
    SettingGroup,
    default_text,
    flag,
    setting,
    setting_groups,
    variable,
)
from chatsvc.settings.environment import (
    forget_secrets,
    openai_api_key,
    read_settings,
    set_text,
    unknown_variables,
    wants_traces,
)
from chatsvc.settings.limits import LimitSettings
from chatsvc.settings.logs import LogSettings
from chatsvc.settings.page import LookSettings
from chatsvc.settings.process import ProcessSettings
from chatsvc.settings.replies import ReplySettings, StoreSettings
from chatsvc.settings.users import PageSettings, UserSettings

__all__ = [
    "BadSetting",
    "CommandSettings",
    "SettingGroup",
    "Settings",
    "default_text",
    "flag",
    "forget_secrets",
    "openai_api_key",
    "read_settings",
    "set_text",
    "setting",
    "setting_groups",
    "unknown_variables",
    "variable",
    "wants_traces",
]


@dataclass(frozen=True, kw_only=True)
class Settings(
    AddressSettings,
    BackendSettings,
    ReplySettings,
    StoreSettings,
    LimitSettings,
    UserSettings,
    PageSettings,
    LookSettings,
    ProcessSettings,
    LogSettings,
):
    """The settings of `create_app` and `chatsvc serve`. Times are in seconds, sizes in bytes."""
