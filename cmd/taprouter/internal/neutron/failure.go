package neutron

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A refusal is an error as clients see it.
type refusal struct {
	status  int
	typ     string // as in NeutronError.type
	message string
}

// Error returns the message.
func (f *refusal) Error() string { return f.typ + ": " + f.message }

func (f *refusal) body() any {
	return map[string]any{"NeutronError": map[string]any{"type": f.typ, "message": f.message, "detail": ""}}
}

// fault is the body of an error of the load-balancing API, which has another form.
func (f *refusal) fault() any {
	code := "Client"
	if f.status >= http.StatusInternalServerError {
		code = "Server"
	}
	return map[string]any{"faultcode": code, "debuginfo": nil,
		"faultstring": strings.Replace(f.message, " could not be found.", " not found.", 1)}
}

func failure(status int, typ, format string, args ...any) error {
	return &refusal{status, typ, fmt.Sprintf(format, args...)}
}

// malformed is for a request that cannot be understood, or asks for what no object can have.
func malformed(format string, args ...any) error {
	return failure(http.StatusBadRequest, "HTTPBadRequest", format, args...)
}

// invalid is for a value that an attribute cannot have.
func invalid(name string, format string, args ...any) error {
	return malformed("Invalid input for %s. Reason: %s", name, fmt.Sprintf(format, args...))
}

// noSuchPath is for a path where there is nothing.
func noSuchPath() error {
	return failure(http.StatusNotFound, "HTTPNotFound", "The resource could not be found.")
}

func badRequest(format string, args ...any) error {
	return failure(http.StatusBadRequest, "BadRequest", format, args...)
}

func conflict(typ, format string, args ...any) error {
	return failure(http.StatusConflict, typ, format, args...)
}

func notFound(what string, id config.ID) error {
	return failure(http.StatusNotFound, strings.ReplaceAll(what, " ", "")+"NotFound", "%s %s could not be found.", what,
		id)
}

// failureOf makes a refusal of any error.
func failureOf(err error) *refusal {
	var f *refusal
	var refused *control.Refusal
	var unserved config.Faults
	var closed *router.DeviceError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refused):
		return ofFaults(refused.Faults)
	case errors.As(err, &unserved):
		return ofFaults(unserved)
	case errors.As(err, &closed):
		return ofDevice(closed)
	case errors.Is(err, os.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refusal{http.StatusServiceUnavailable, "HTTPServiceUnavailable", "The router is going down."}
	case errors.Is(err, control.ErrNotKept): // the disk is full, for example
		return &refusal{http.StatusServiceUnavailable, "HTTPServiceUnavailable", err.Error()}
	}
	return &refusal{http.StatusInternalServerError, "HTTPInternalServerError",
		"Request Failed: internal server error while processing your request."}
}

// ofDevice is for a network whose device cannot be opened. Nothing of the request is done then.
func ofDevice(err *router.DeviceError) *refusal {
	message := fmt.Sprintf("The device of %v", err)
	if errors.Is(err, syscall.EMFILE) {
		message += ": the router may not open more files; raise LimitNOFILE= in its systemd unit, " +
			"or `ulimit -n` in its shell"
	}
	return &refusal{http.StatusServiceUnavailable, "DeviceNotOpened", message}
}

// A meaning is what a fault is in Neutron's words.
type meaning struct {
	kind   config.Kind
	field  string // the beginning of Fault.Field; empty: any
	code   config.Code
	status int
	typ    string
}

// anyKind is for a meaning that holds for the objects of all kinds.
const anyKind = config.NumKinds

// meanings are in order: the first one that fits is taken.
var meanings = []meaning{
	{config.KindPort, "fixed_ips", config.Taken, http.StatusConflict, "IpAddressAlreadyAllocated"},
	{config.KindPort, "fixed_ips", config.Invalid, http.StatusBadRequest, "InvalidIpForNetwork"},
	{config.KindPort, "fixed_ips", config.Unknown, http.StatusNotFound, "SubnetNotFound"},
	{config.KindPort, "mac", config.Taken, http.StatusConflict, "MacAddressInUse"},
	{config.KindPort, "network", config.Unknown, http.StatusNotFound, "NetworkNotFound"},
	{config.KindPort, "network", config.Invalid, http.StatusBadRequest, "BadRequest"},
	{config.KindPort, "device_id", config.Unknown, http.StatusNotFound, "RouterNotFound"},
	{config.KindPort, "security_groups", config.Taken, http.StatusConflict, "SecurityGroupConflict"},
	{config.KindPort, "security_groups", config.Unknown, http.StatusNotFound, "SecurityGroupNotFound"},
	{config.KindPort, "port_security", config.Invalid, http.StatusConflict, "PortSecurityPortHasSecurityGroup"},
	{config.KindPort, "", config.Taken, http.StatusBadRequest, "BadRequest"},
	{config.KindPort, "", config.InUse, http.StatusConflict, "ServicePortInUse"},
	{config.KindNetwork, "vlan", config.Taken, http.StatusConflict, "VlanIdInUse"},
	{config.KindNetwork, "physical_network", config.Taken, http.StatusConflict, "FlatNetworkInUse"},
	{config.KindNetwork, "", config.InUse, http.StatusConflict, "NetworkInUse"},
	{config.KindSubnet, "network", config.Unknown, http.StatusNotFound, "NetworkNotFound"},
	{config.KindSubnet, "", config.InUse, http.StatusConflict, "SubnetInUse"},
	{config.KindRouter, "routes", config.Invalid, http.StatusBadRequest, "InvalidRoutes"},
	{config.KindRouter, "gateway.network", config.Unknown, http.StatusNotFound, "NetworkNotFound"},
	{config.KindRouter, "gateway.network", config.Invalid, http.StatusBadRequest, "BadRequest"},
	{config.KindRouter, "", config.InUse, http.StatusConflict, "RouterInUse"},
	{config.KindFloatingIP, "address", config.Taken, http.StatusConflict, "IpAddressAlreadyAllocated"},
	{config.KindFloatingIP, "address", config.Invalid, http.StatusBadRequest, "InvalidIpForNetwork"},
	{config.KindFloatingIP, "network", config.Unknown, http.StatusNotFound, "NetworkNotFound"},
	{config.KindFloatingIP, "network", config.Invalid, http.StatusBadRequest, "BadRequest"},
	{config.KindFloatingIP, "fixed_ip", config.Taken, http.StatusConflict, "FloatingIPPortAlreadyAssociated"},
	{config.KindFloatingIP, "router", config.InUse, http.StatusConflict, "RouterInterfaceInUseByFloatingIP"},
	{config.KindSecurityGroupRule, "rule", config.Taken, http.StatusConflict, "SecurityGroupRuleExists"},
	{config.KindSecurityGroup, "", config.InUse, http.StatusConflict, "SecurityGroupInUse"},
	{config.KindAddressGroup, "", config.InUse, http.StatusConflict, "AddressGroupInUse"},
	{config.KindLoadBalancer, "security_groups", config.Taken, http.StatusConflict, "SecurityGroupConflict"},
	{anyKind, "", config.Invalid, http.StatusBadRequest, "InvalidInput"},
	{anyKind, "", config.Unsupported, http.StatusBadRequest, "NotSupported"},
	{anyKind, "", config.Unknown, http.StatusNotFound, "NotFound"},
	{anyKind, "", config.Unreached, http.StatusNotFound, "ExternalGatewayForFloatingIPNotFound"},
	{anyKind, "", config.Exhausted, http.StatusConflict, "IpAddressGenerationFailure"},
	{anyKind, "", config.Taken, http.StatusConflict, "Conflict"},
	{anyKind, "", config.InUse, http.StatusConflict, "InUse"},
	{anyKind, "", config.ReadOnly, http.StatusConflict, "DeclaredInFile"},
}

// ofFaults gives a request the type of its first fault, and the messages of all.
func ofFaults(faults config.Faults) *refusal {
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.String())
	}
	f := &refusal{http.StatusBadRequest, "InvalidInput", strings.Join(lines, "; ")}
	for _, m := range meanings {
		if len(faults) > 0 && m.fits(faults[0]) {
			f.status, f.typ = m.status, m.typ
			break
		}
	}
	return f
}

func (m meaning) fits(f config.Fault) bool {
	return m.code == f.Code && (m.kind == anyKind || m.kind == f.Ref.Kind) && strings.HasPrefix(f.Field, m.field)
}
