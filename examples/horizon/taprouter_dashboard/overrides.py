"""What the dashboard does not show: panels and buttons whose services are not here.

Horizon calls this its customization module. A hidden panel still answers: other pages link to it.
"""

import horizon

SHOWN = {
    "project": ("network_topology", "networks", "routers", "security_groups", "floating_ips", "load_balancer",
                "api_access"),
    "admin": ("networks", "routers", "floating_ips"),
    "identity": (),
    "settings": ("user",),
}

for dashboard in horizon.get_dashboards():
    shown = SHOWN.get(dashboard.slug, ())
    dashboard.nav = bool(shown) and dashboard.slug != "settings"  # which is in the user's own menu
    for panel in dashboard.get_panels():
        panel.nav = panel.slug in shown
