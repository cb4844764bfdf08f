package neutron

import (
	"maps"
	"net/url"
	"strconv"
)

// A paging is the part of a list that a query asks for.
type paging struct {
	limit   int // 0: none
	marker  string
	reverse bool       // the page before the marker
	values  url.Values // the whole query, for links
}

func readPaging(values url.Values) (p paging, err error) {
	p.values = values
	last := func(key string) string {
		list := values[key]
		if len(list) == 0 {
			return ""
		}
		return list[len(list)-1]
	}
	if values.Has("limit") {
		n, err := strconv.ParseUint(last("limit"), 10, 31)
		if err != nil {
			return p, malformed("Invalid input for limit. Reason: '%s' is not a non-negative integer.", last("limit"))
		}
		p.limit = int(n)
	}
	p.marker = last("marker")
	if values.Has("page_reverse") {
		v, err := flag.read(last("page_reverse"))
		if err != nil {
			return p, invalid("page_reverse", "%v.", err)
		}
		p.reverse = v.(bool)
	}
	return p, nil
}

// directions reads the directions of a sort, one for each key: true is down. Without any, all go up.
func directions(keys, dirs []string) ([]bool, error) {
	down := make([]bool, len(keys))
	if len(dirs) > 0 && len(dirs) != len(keys) {
		return nil, malformed("The number of sort_keys and sort_dirs must be same")
	}
	for i, dir := range dirs {
		if dir != "asc" && dir != "desc" {
			return nil, malformed("'%s' is invalid value for sort_dirs, valid value is 'asc' and 'desc'", dir)
		}
		down[i] = dir == "desc"
	}
	return down, nil
}

// window takes the page out of a sorted list, where the marker is at an index, -1 if there is none. It says whether the
// list goes on: after the page, or before it if the pages go backward.
func window[V any](p paging, list []V, at int) (page []V, more bool) {
	switch {
	case !p.reverse:
		page = list[at+1:]
	case at >= 0:
		page = list[:at]
	default:
		page = list
	}
	n := len(page) - p.limit
	switch {
	case p.limit == 0 || n <= 0:
		return page, false
	case p.reverse:
		return page[n:], true
	}
	return page[:p.limit], true
}

// link says where a list goes on. The first and the last object of the page are named as markers are.
func (p *paging) link(r *request, first, last string) link {
	rel, marker := "next", last
	if p.reverse {
		rel, marker = "previous", first
	}
	values := maps.Clone(p.values)
	values.Set("marker", marker)
	return link{Rel: rel, Href: r.base() + r.URL.Path + "?" + values.Encode()}
}
