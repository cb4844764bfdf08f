package store

import (
	"os"
	"reflect"
	"unsafe"
)

// What tests of values need.
var (
	Encode = encode
	Decode = decode
	Seal   = seal
	KeyOf  = keyOf
	New    = newObject
)

// Inspect says what is wrong with a file.
func Inspect(data []byte) (rev int64, err error) {
	c, err := inspect(data)
	if err != nil {
		return 0, err
	}
	return c.rev, nil
}

// OpenDB opens a file with bbolt and has bbolt check it.
func OpenDB(path string) error {
	f, err := openLocked(path, os.O_RDWR, copyAfter)
	if err != nil {
		return err
	}
	db, fault, err := openDB(f, copyAfter)
	if fault != nil || err != nil {
		return os.ErrInvalid
	}
	return db.Close()
}

// OnWrite has a function do the writes of a store of Bolt. bbolt calls a function of its own for tests, which it does
// not export. It gives the function that it has had.
func OnWrite(s Store, write func(b []byte, at int64) (int, error)) func(b []byte, at int64) (int, error) {
	db := reflect.ValueOf(s.(*table).journal.(*boltFile).db).Elem()
	f := (*func([]byte, int64) (int, error))(unsafe.Pointer(db.FieldByName("ops").FieldByName("writeAt").UnsafeAddr()))
	was := *f
	*f = write
	return was
}

// Doubtful says whether a store of Bolt begins its next change with a new file.
func Doubtful(s Store) bool { return s.(*table).journal.(*boltFile).doubtful }
