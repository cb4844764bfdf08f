package addrmap

// Nodes is the number of nodes of the tree.
func (m Map[V]) Nodes() int { return m.root.count() }

func (n *node[V]) count() int {
	if n == nil {
		return 0
	}
	sum := 1
	for _, b := range n {
		sum += b.node.count()
	}
	return sum
}
