// Package metadata is what instances read at 169.254.169.254: who they are, their SSH keys, their user data, their
// network. It serves the paths of Nova's metadata service, EC2's and OpenStack's, that cloud-init and cirros read, or
// passes requests on to such a service, as Neutron's metadata agent does.
//
// The package has no socket, and knows an instance only by the address of the port that asks. Its maker finds the
// instance, and sees to it that only hosts on tenant networks ask.
package metadata
