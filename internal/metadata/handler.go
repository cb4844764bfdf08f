package metadata

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The versions of the paths, as Nova has them. Each is the first part of a path, and so is "latest".
var (
	amazonVersions = []string{
		"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
		"2009-04-04",
	}
	openStackVersions = []string{
		"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22",
		"2018-08-27", "2020-10-14",
	}
)

// Versions of OpenStack's paths that brought a file.
const (
	withVendorData  = "2013-10-17"
	withNetworkData = "2015-10-15"
	withVendorData2 = "2016-10-06"
)

// latest stands for the last version.
const latest = "latest"

// Find finds the instance that has an address on the network from which a request has come.
type Find func(from netip.Addr) (Instance, bool)

// Handler serves the metadata of the instance that asks. Several goroutines may use it.
func Handler(find Find) http.Handler {
	return asking(find, func(w http.ResponseWriter, r *http.Request, in Instance) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "metadata is only read")
			return
		}
		body, typ, ok := lookUp(in, strings.Split(strings.Trim(r.URL.Path, "/"), "/"))
		if !ok {
			refuse(w, http.StatusNotFound, "there is no such metadata")
			return
		}
		h := w.Header()
		h.Set("Content-Type", typ)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Cache-Control", "no-store")
		_, _ = w.Write(body) // an instance that hangs up does not want it
	})
}

// asking is a handler that knows the instance that asks.
func asking(find Find, fn func(http.ResponseWriter, *http.Request, Instance)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		addr := from.Addr().Unmap()
		in, ok := Instance{}, false
		if err == nil {
			in, ok = find(addr)
		}
		if !ok {
			refuse(w, http.StatusNotFound, "no port of this network has the address "+addr.String())
			return
		}
		fn(w, r, in)
	})
}

func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(strconv.Itoa(code) + " " + http.StatusText(code) + "\n\n" + text + "\n"))
}

const (
	textType  = "text/plain; charset=utf-8"
	jsonType  = "application/json"
	bytesType = "application/octet-stream"
)

// lookUp finds what is at a path.
func lookUp(in Instance, path []string) (body []byte, typ string, ok bool) {
	switch {
	case path[0] == "":
		return listing(append(slices.Clone(amazonVersions), latest)...), textType, true
	case path[0] == "openstack" && len(path) == 1:
		return listing(append(slices.Clone(openStackVersions), latest)...), textType, true
	case path[0] == "openstack":
		return openStack(in, path[1], path[2:])
	case path[0] == latest, slices.Contains(amazonVersions, path[0]):
		return amazon(in, path[1:])
	}
	return nil, "", false
}

func listing(names ...string) []byte { return []byte(strings.Join(names, "\n")) }

// A tree is a directory of EC2's paths: each entry is a tree, or a text.
type tree map[string]any

// amazon finds what is at a path below a version of EC2's.
func amazon(in Instance, path []string) ([]byte, string, bool) {
	top := tree{"meta-data": amazonTree(in)}
	if in.UserData != nil {
		top["user-data"] = in.UserData
	}
	var at any = top
	for _, name := range path {
		dir, ok := at.(tree)
		if !ok {
			return nil, "", false
		}
		if at, ok = dir[name]; !ok || name == keyName {
			return nil, "", false
		}
	}
	switch at := at.(type) {
	case tree:
		return listing(at.names(len(path) == 0)...), textType, true
	case string:
		return []byte(at), textType, true
	default:
		return at.([]byte), bytesType, true
	}
}

// keyName is the entry of a key's directory that has its name. It shows in the list above it alone, as number=name.
const keyName = ""

// names lists the entries of a directory, with a slash behind those that are directories themselves, but for the top.
func (t tree) names(top bool) []string {
	var names []string
	for name, at := range t {
		if name == keyName {
			continue
		}
		if dir, ok := at.(tree); ok {
			if called, isKey := dir[keyName]; isKey {
				name += "=" + called.(string)
			} else if !top {
				name += "/"
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// amazonTree is EC2's meta-data directory.
func amazonTree(in Instance) tree {
	t := tree{
		"ami-id": "none", "ami-launch-index": "0", "ami-manifest-path": "none",
		"instance-id": amazonID(in.ID), "instance-action": "none", "instance-type": "taprouter",
		"hostname": in.Hostname, "local-hostname": in.Hostname, "public-hostname": in.Hostname,
		"local-ipv4": text(in.Address), "public-ipv4": text(in.PublicAddress),
		"reservation-id": "r-" + strings.TrimPrefix(amazonID(in.ID), "i-"),
		"placement":      tree{"availability-zone": in.Zone},
	}
	if len(in.SecurityGroups) > 0 {
		t["security-groups"] = strings.Join(in.SecurityGroups, "\n")
	}
	if len(in.Keys) > 0 {
		keys := tree{}
		for k, key := range in.Keys {
			keys[strconv.Itoa(k)] = tree{keyName: key.Name, "openssh-key": key.Data}
		}
		t["public-keys"] = keys
	}
	return t
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// amazonID is an instance's ID as EC2's instances have it: the first 32 bits of its UUID.
func amazonID(id string) string {
	return "i-" + id[:min(8, len(id))]
}

// openStack finds what is at a path below a version of OpenStack's.
func openStack(in Instance, version string, path []string) ([]byte, string, bool) {
	if version == latest {
		version = openStackVersions[len(openStackVersions)-1]
	} else if !slices.Contains(openStackVersions, version) {
		return nil, "", false
	}
	files := []string{"meta_data.json"}
	if in.UserData != nil {
		files = append(files, "user_data")
	}
	for _, f := range [...]struct{ name, since string }{
		{"vendor_data.json", withVendorData}, {"network_data.json", withNetworkData},
		{"vendor_data2.json", withVendorData2},
	} {
		if version >= f.since {
			files = append(files, f.name)
		}
	}
	switch {
	case len(path) == 0:
		return listing(files...), textType, true
	case len(path) > 1, !slices.Contains(files, path[0]):
		return nil, "", false
	}
	switch path[0] {
	case "meta_data.json":
		return write(about(in))
	case "network_data.json":
		return write(networkData(in))
	case "user_data":
		return in.UserData, bytesType, true
	}
	return write(struct{}{}) // vendor data: there is none
}

func write(v any) ([]byte, string, bool) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil, "", false
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), jsonType, true
}

// seedLen is how many random bytes an instance gets to start its random number generator with.
const seedLen = 512

// about is OpenStack's meta_data.json.
func about(in Instance) any {
	type sshKey struct {
		Name string `json:"name"`
		Type string `json:"type"`
		Data string `json:"data"`
	}
	seed := make([]byte, seedLen)
	_, _ = rand.Read(seed) // never fails
	m := struct {
		UUID        string            `json:"uuid"`
		Name        string            `json:"name"`
		Hostname    string            `json:"hostname"`
		LaunchIndex int               `json:"launch_index"`
		Zone        string            `json:"availability_zone"`
		Project     string            `json:"project_id"`
		Meta        map[string]string `json:"meta"`
		PublicKeys  map[string]string `json:"public_keys,omitempty"`
		Keys        []sshKey          `json:"keys,omitempty"`
		Seed        []byte            `json:"random_seed"` // base64
		Devices     []string          `json:"devices"`
	}{
		UUID: in.ID, Name: in.Name, Hostname: in.Hostname, Zone: in.Zone, Project: in.Project,
		Meta: map[string]string{}, Seed: seed, Devices: []string{},
	}
	for _, k := range in.Keys {
		if m.PublicKeys == nil {
			m.PublicKeys = map[string]string{}
		}
		m.PublicKeys[k.Name] = k.Data
		m.Keys = append(m.Keys, sshKey{k.Name, "ssh", k.Data})
	}
	return m
}
