// Package clients tests the control API with clients that people have. It is a module of its own, so that the product
// does not depend on them.
package clients
