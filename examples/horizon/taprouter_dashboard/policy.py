"""Which buttons the dashboard offers."""

from openstack_auth import policy

# They need a service that is not here, or do not work with this API.
NOT_HERE = {
    ("compute", "os_compute_api:servers:create"),  # Launch Instance
    ("network", "get_floatingip_port_forwarding"),  # the pages of forwarded ports, which Debian 13 has
}


def check(actions, request, target=None):
    """Say whether a user may do all of some actions: Horizon's own answer, less what is not here."""
    return NOT_HERE.isdisjoint(actions) and policy.check(actions, request, target)
