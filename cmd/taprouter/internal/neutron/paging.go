package neutron

import (
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

// window takes the page out of a sorted list, where the marker is at an index, -1 if there is none. It says whether
// anything comes before the page and after it.
func window[V any](p paging, list []V, at int) (page []V, before, after bool) {
	switch {
	case p.reverse && at >= 0:
		page, after = list[:at], true
	case p.reverse:
		page = list
	default:
		page, before = list[at+1:], at >= 0
	}
	if n := len(page) - p.limit; p.limit > 0 && n > 0 {
		if p.reverse {
			page, before = page[n:], true
		} else {
			page, after = page[:p.limit], true
		}
	}
	return page, before, after
}

// links says where a list goes on: after the page, or before it if the pages go backward. The first and the last object
// of the page are named as markers are.
func (p *paging) links(r *request, first, last string, before, after bool) []link {
	to := func(rel string, marker string, reverse bool) []link {
		values := url.Values{}
		for k, v := range p.values {
			values[k] = v
		}
		values.Set("marker", marker)
		if reverse {
			values.Set("page_reverse", "True")
		}
		return []link{{Rel: rel, Href: r.base() + r.URL.Path + "?" + values.Encode()}}
	}
	switch {
	case p.limit == 0:
	case p.reverse && before:
		return to("previous", first, true)
	case !p.reverse && after:
		return to("next", last, false)
	}
	return []link{}
}
