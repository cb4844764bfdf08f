package addrmap

// Nodes is the number of nodes of the tree.
func (m Tree[K, V]) Nodes() int { return m.root.count() }

func (n *node[K, V]) count() int {
	if n == nil {
		return 0
	}
	sum := 1
	for _, b := range n {
		sum += b.node.count()
	}
	return sum
}
