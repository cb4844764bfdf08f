package loop

// TagCounts count the frames of a link whose tag belongs to no network, by tag: somebody has forgotten a network, or
// sends where it has no business. Whoever is behind the device chooses the tags, so only the first ones that occur have
// a count each. The zero value is empty. It belongs to the worker of the link.
type TagCounts struct {
	byTag map[uint16]uint64
	Other uint64 // frames with a tag that has no count of its own
}

// MaxTags is how many tags of one link have a count of their own.
const MaxTags = 64

// Count counts a frame with a tag.
func (c *TagCounts) Count(vlan uint16) {
	if _, ok := c.byTag[vlan]; !ok {
		if len(c.byTag) >= MaxTags {
			c.Other++
			return
		}
		if c.byTag == nil {
			c.byTag = map[uint16]uint64{}
		}
	}
	c.byTag[vlan]++
}

// All gives the tags that have a count, in any order.
func (c *TagCounts) All(yield func(vlan uint16, frames uint64) bool) {
	for vlan, n := range c.byTag {
		if !yield(vlan, n) {
			return
		}
	}
}
