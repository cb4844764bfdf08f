package conntrack

// A classUse counts what keeps the number of a class in use: calls of Class that have not been taken back, and
// connections of the class.
type classUse struct{ holders, conns int32 }

// takeClass returns the number of a class that has a lifetime, and false if all numbers are taken by others.
// The number of a class without any use is free again.
func (t *Table) takeClass(want lifetime) (Class, bool) {
	free := byProtocol
	for i := firstOwn; int(i) < len(t.classes) && i != 0; i++ { // 0: it has wrapped
		switch {
		case t.uses[i] == classUse{}:
			if free == byProtocol {
				free = i
			}
		case t.classes[i] == want:
			return i, true
		}
	}
	if free != byProtocol {
		t.classes[free] = want
		t.shortest = shortest(t.classes)
		return free, true
	}
	if len(t.classes) > int(^Class(0)) {
		return byProtocol, false
	}
	t.classes = append(t.classes, want)
	t.uses = append(t.uses, classUse{})
	t.shortest = shortest(t.classes)
	return Class(len(t.classes) - 1), true
}

// ReleaseClass takes back what one call of Class has returned. Once every such call for the class is taken
// back, new connections must not have it. Connections that have it keep its lifetime. After the last of them,
// another lifetime may get the number. For the class of a protocol, or one that is taken back, nothing happens.
func (t *Table) ReleaseClass(c Class) {
	if t.holds(c) {
		t.uses[c].holders--
	}
}

// holds reports whether a class is one that Class has returned, and that is not released.
func (t *Table) holds(c Class) bool {
	return c >= firstOwn && int(c) < len(t.classes) && t.uses[c].holders > 0
}

// countClass adds n, which is 1 or -1, to the connections of a class.
func (t *Table) countClass(c Class, n int32) {
	if c >= firstOwn {
		t.uses[c].conns += n
	}
}
