"""Settings for Debian's Horizon in front of a taprouter. run.sh starts it.

They lie over openstack_dashboard.settings. What the machine's administrator has written for a Horizon of its own,
local_settings.py, is not read.
"""

import os
import secrets
import sys
import tomllib
import types
import urllib.error
import urllib.request
import warnings

# Horizon asks for warnings that only its developers can act on.
warnings.showwarning = lambda *args, **kwargs: None

# Horizon imports its local settings by this name. An empty module takes their place.
sys.modules["local.local_settings"] = types.ModuleType("local.local_settings")

# The key that signs cookies would be kept in a file of the web server's user. Sessions end with this process, so its
# key may, too.
from horizon.utils import secret_key  # noqa: E402

secret_key.generate_or_read_from_file = lambda *args, **kwargs: secrets.token_urlsafe(48)

from openstack_dashboard.defaults import *  # noqa: E402,F401,F403  what octavia-dashboard's own settings add to
from openstack_dashboard.settings import *  # noqa: E402,F401,F403

API = os.environ["TAPROUTER_API"]
LISTEN = os.environ["TAPROUTER_LISTEN"]


def physical_networks():
    """The labels that Create Network offers: those of the router's topology.

    The router knows "default" without a declaration.
    """
    given = os.environ.get("TAPROUTER_PHYSICAL_NETWORKS")
    if given:
        return given.split(",")
    request = urllib.request.Request(API + "/taprouter/v1/export")
    token = os.environ.get("TAPROUTER_TOKEN")
    if token:
        request.add_header("X-Auth-Token", token)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            topology = tomllib.loads(answer.read().decode())
    except urllib.error.HTTPError as error:
        print(f"{API}/taprouter/v1/export: {error}; set TAPROUTER_TOKEN, or --physical-networks", file=sys.stderr)
        return ["default"]
    names = [each["name"] for each in topology.get("physical_network", [])]
    return names if "default" in names else ["default", *names]


DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", LISTEN.rpartition(":")[0]]
OPENSTACK_KEYSTONE_URL = API + "/identity/v3"
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SITE_BRANDING = "taprouter"
TIME_ZONE = "UTC"

# Debian has compressed its scripts and style sheets at installation, and put them here.
COMPRESS_OFFLINE = True
STATIC_ROOT = "/var/lib/openstack-dashboard/static"

TEMPLATES[0]["DIRS"].insert(0, os.path.join(os.path.dirname(__file__), "templates"))  # noqa: F405

# After the login comes the picture.
HORIZON_CONFIG["user_home"] = "/project/network_topology/"  # noqa: F405
HORIZON_CONFIG["customization_module"] = "taprouter_dashboard.overrides"  # noqa: F405
POLICY_CHECK_FUNCTION = "taprouter_dashboard.policy.check"
# The router answers when a change is made, so there is little to wait for. In milliseconds.
HORIZON_CONFIG["ajax_poll_interval"] = 500  # noqa: F405

OPENSTACK_NEUTRON_NETWORK = {
    **OPENSTACK_NEUTRON_NETWORK,  # noqa: F405
    "enable_router": True,
    "enable_ipv6": True,
    "enable_ha_router": False,
    "enable_distributed_router": False,
    "enable_rbac_policy": False,
    "supported_provider_types": ["flat", "vlan"],
    "physical_networks": physical_networks(),
    "supported_vnic_types": [],
}

# One line for what goes wrong, none for each request. Horizon's policies are Debian's, whose form oslo.policy warns of.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "level": "WARNING"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"django.server": {"handlers": ["console"], "level": "ERROR", "propagate": False},
                "oslo_policy": {"level": "ERROR"},
                "openstack_auth.policy": {"level": "CRITICAL"}},
}
