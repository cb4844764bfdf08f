package client

import (
	"reflect"

	"github.com/alecthomas/kong"
)

// Placeholders shows a flag's value in help as <flag>, as OpenStack's client does, unless the flag says what to show.
func Placeholders() kong.Option {
	return kong.PostBuild(func(k *kong.Kong) error {
		return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
			if n, ok := node.(*kong.Node); ok && speaks(n) {
				for _, f := range n.Flags {
					if f.PlaceHolder == "" && !f.IsBool() {
						f.PlaceHolder = "<" + f.Name + ">"
					}
				}
			}
			return next(nil)
		})
	})
}

// speaks reports whether a command speaks to a router: it, or one that it belongs to, has a Connection.
func speaks(n *kong.Node) bool {
	for ; n != nil; n = n.Parent {
		if n.Type == kong.CommandNode && n.Target.Kind() == reflect.Struct &&
			n.Target.FieldByName("Connection").IsValid() {
			return true
		}
	}
	return false
}
