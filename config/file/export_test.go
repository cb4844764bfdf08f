package file

import (
	"fmt"

	"github.com/BurntSushi/toml"
)

// IndexLines is indexLines for tests.
func IndexLines(doc string) map[string]int { return indexLines(doc) }

// JoinPath, PathKey and IndexKey write paths as the index does.
func JoinPath(path, key string) string  { return joinPath(path, key) }
func PathKey(key string) string         { return pathKey(key) }
func IndexKey(key string, i int) string { return indexKey(key, i) }

// KnownKeys calls f with every key that the parser knows: the kind of table it
// belongs to (tables of the same kind have the same keys, wherever they are),
// and its path without indexes.
func KnownKeys(f func(kind, key, path string)) { knownKeys("", topologyKeys, f) }

func knownKeys(table string, ks keyNames, f func(kind, key, path string)) {
	ks.each(func(name string, sub keyNames, _ bool) {
		path := joinPath(table, name)
		f(fmt.Sprintf("%T", ks), name, path)
		if sub != nil {
			knownKeys(path, sub, f)
		}
	})
}

// CheckBounds is checkBounds for tests.
func CheckBounds(doc string) (int, string) { return checkBounds(doc) }

// Decoded reads a document without checking it. The check is what it returns.
func Decoded(doc string) (check func() error, err error) {
	var raw map[string]any
	if _, err := toml.Decode(doc, &raw); err != nil {
		return nil, err
	}
	f := decode("", doc, raw, nil)
	return func() error {
		f.check()
		return f.report.err()
	}, nil
}
