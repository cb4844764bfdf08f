// Package identity is the optional login stub: as much of Keystone as clients need that insist on logging in
// (Terraform, Horizon, `openstack --project`), as much of Nova as Horizon needs, and the version documents that a
// service catalog leads to. There is one project, one domain and one role; anyone who logs in is an administrator.
//
// A login proves nothing unless the router has a token. Then the password is that token, or the secret of an
// application credential is. A token of the stub is text with a signature. Nothing is kept of it, so there may be any
// number of them. The signature's key is made for the process, so a restart ends all tokens.
//
// A server of Nova is made of the ports that have one device_id. Nothing runs it, and it cannot be changed.
package identity
