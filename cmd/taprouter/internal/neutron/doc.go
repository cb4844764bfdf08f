// Package neutron serves the control API: the parts of OpenStack's networking API (Neutron v2.0) and load-balancing API
// (Octavia v2.0) that taprouter has. An API is an http.Handler on top of a control.Control. Each request that changes
// something is one transaction of the Control: all of it is done, or nothing is. The answer shows the State that the
// transaction has made.
//
// A resource, such as networks, is a table of attributes. An attribute says its name, how a value of it is read, when
// it may be written, and how it is got from and set on the object of the State. Reading bodies, answers, filters,
// sorting and the checks for what is read-only all follow the table. What the table cannot say is in the resource's
// functions: what a new object needs besides its attributes, and what an object may not lose while others need it.
//
// Some objects of Neutron are not in a State, because they follow from others: the port of a floating IP, and the port
// of a load balancer's address. Their IDs are made of the ID of the object that they follow from.
//
// Below /v2.0/lbaas is the load-balancing API (Octavia v2.0), made of the same tables. It differs in the form of errors
// and times, and null restores a default. How load balancers are doing comes from the engine, if the API is given one.
//
// An attribute that a topology file states is the file's: a request cannot change it. Entries of lists, such as routes,
// have owners one by one. What is stored and cannot be served beside the file is shown with the status ERROR.
//
// Quotas are one object of the State, and each change is counted against them before it is made. Security groups and
// address groups are kept and checked; the default group is made when it is needed.
package neutron
