package conntrack

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"unsafe"
)

// meaning is counted up when a field of a record means something else than before, though its place is the same.
const meaning = 1

// Layout says in words how the connections of this program lie in memory. A program with another Layout cannot read
// them, except as Records.
func Layout() string { return LayoutOf[Conn, links](meaning) }

// LayoutOf is a Layout of the two parts of a slab's records. meaning is what their fields mean, by number.
func LayoutOf[T, C any](meaning int) string {
	var b strings.Builder
	one := uint16(1)
	fmt.Fprintf(&b, "%s, first byte %d, %d a chunk, meaning %d: ", runtime.GOARCH, *(*byte)(unsafe.Pointer(&one)),
		chunkLen, meaning)
	describe(&b, reflect.TypeFor[T]())
	b.WriteString("; ")
	describe(&b, reflect.TypeFor[C]())
	return b.String()
}

// describe writes the size of a type and where its fields are.
func describe(b *strings.Builder, t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		fmt.Fprintf(b, "%d{", t.Size())
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(b, "%s@%d ", f.Name, f.Offset)
			describe(b, f.Type)
			b.WriteString(" ")
		}
		b.WriteString("}")
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		describe(b, t.Elem())
	default:
		b.WriteString(t.Kind().String())
	}
}
