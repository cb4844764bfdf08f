package tap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
)

// A mark says in an interface's alias (ip link shows it) what a setting was: [taprouter: NAME was NUMBER]. It is put
// there before the setting changes, and removed when the setting is put back. After kill -9 the next start reads it.
// Unlike a file, an alias moves and ends with its interface, and needs no directory that the process may write to.
// The value of a mark is the setting's name. An alias may have several marks.
type mark string

const (
	modeMark mark = "addr_gen_mode"
	groMark  mark = "gro" // 0: off
)

// maxAlias is the longest alias, in bytes (IFALIASZ less the final zero).
const maxAlias = 255

// cut returns an alias without the mark, and the number in it.
func (m mark) cut(alias string) (rest string, was int, marked bool) {
	before, after, found := strings.Cut(alias, m.start())
	number, end, closed := strings.Cut(after, "]")
	was, err := strconv.Atoi(number)
	if !found || !closed || err != nil {
		return alias, 0, false
	}
	if before == "" {
		return strings.TrimPrefix(end, " "), was, true
	}
	return strings.TrimSuffix(before, " ") + end, was, true
}

// with returns an alias with a mark for a number, in place of one that it has.
func (m mark) with(alias string, was int) string {
	alias, _, _ = m.cut(alias)
	if alias != "" {
		alias += " "
	}
	return alias + m.start() + strconv.Itoa(was) + "]"
}

func (m mark) start() string { return "[taprouter: " + string(m) + " was " }

// put marks an interface.
func (m mark) put(h *netlink.Handle, index, was int) error {
	err := editAlias(h, index, func(alias string) string { return m.with(alias, was) })
	if err != nil {
		return fmt.Errorf("note what the settings were in its alias: %w", err)
	}
	return nil
}

// remove takes the mark away. An interface that is gone has none.
func (m mark) remove(h *netlink.Handle, index int) error {
	err := editAlias(h, index, func(alias string) string {
		rest, _, _ := m.cut(alias)
		return rest
	})
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	return err
}

// aliases is held while an alias is read and written again: several goroutines have marks to write to one interface.
var aliases sync.Mutex

// editAlias changes the alias that an interface has at this moment.
func editAlias(h *netlink.Handle, index int, edit func(alias string) string) error {
	aliases.Lock()
	defer aliases.Unlock()
	link, err := h.LinkByIndex(index)
	if err != nil {
		return err
	}
	was := link.Attrs().Alias
	alias := edit(was)
	switch {
	case alias == was:
		return nil
	case len(alias) > maxAlias:
		return errors.New("there is no room")
	}
	return h.LinkSetAlias(link, alias)
}
