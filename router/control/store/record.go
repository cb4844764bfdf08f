package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"go.etcd.io/bbolt"
)

// This file is how a content lies in a file of bbolt: three buckets, whose values begin with a CRC32C over bucket, key
// and value. So a record that has been changed, or that stands in another's place, is found.

// format is the version of what this file describes.
const format = 1

var (
	keysBucket   = []byte("keys")   // key: revision, lease, value
	leasesBucket = []byte("leases") // lease: time to live
	headBucket   = []byte("head")   // headKey: format, revision
	headKey      = []byte("store")
)

var errNewer = errors.New("it was written by a newer version of taprouter")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the CRC32C of a record. Each part but the last is preceded by its length.
func sum(bucket, key, value []byte) uint32 {
	crc := uint32(0)
	for _, part := range [][]byte{bucket, key} {
		crc = crc32.Update(crc, castagnoli, binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		crc = crc32.Update(crc, castagnoli, part)
	}
	return crc32.Update(crc, castagnoli, value)
}

// put writes a record: two numbers and a value.
func put(tx *bbolt.Tx, bucket, key []byte, a, b int64, value []byte) error {
	data := make([]byte, 4, 4+8+8+len(value))
	data = binary.BigEndian.AppendUint64(data, uint64(a))
	data = binary.BigEndian.AppendUint64(data, uint64(b))
	data = append(data, value...)
	binary.BigEndian.PutUint32(data, sum(bucket, key, data[4:]))
	return tx.Bucket(bucket).Put(key, data)
}

// parse reads what put has written. The value is the caller's data.
func parse(bucket, key, data []byte) (a, b int64, value []byte, err error) {
	if len(data) < 4+8+8 {
		return 0, 0, nil, fmt.Errorf("%s: key %q: %d bytes are too few", bucket, key, len(data))
	}
	if got, want := sum(bucket, key, data[4:]), binary.BigEndian.Uint32(data); got != want {
		return 0, 0, nil, fmt.Errorf("%s: key %q: the value has checksum %08x, not %08x", bucket, key, got, want)
	}
	a = int64(binary.BigEndian.Uint64(data[4:]))
	b = int64(binary.BigEndian.Uint64(data[12:]))
	return a, b, data[20:], nil
}

func leaseKey(id LeaseID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// putChanges writes what changes do, one after the other.
func putChanges(tx *bbolt.Tx, changes []change) error {
	for _, c := range changes {
		if err := putChange(tx, c); err != nil {
			return err
		}
	}
	return put(tx, headBucket, headKey, format, changes[len(changes)-1].rev, nil)
}

// putChange writes what a change does, but for the revision.
func putChange(tx *bbolt.Tx, c change) error {
	for id, ttl := range c.grants {
		if err := put(tx, leasesBucket, leaseKey(id), int64(ttl), 0, nil); err != nil {
			return err
		}
	}
	for _, o := range c.ops {
		var err error
		if o.Delete {
			err = tx.Bucket(keysBucket).Delete([]byte(o.Key))
		} else {
			err = put(tx, keysBucket, []byte(o.Key), c.rev, int64(o.Lease), o.Value)
		}
		if err != nil {
			return fmt.Errorf("key %q: %w", o.Key, err)
		}
	}
	for _, id := range c.ends {
		if err := tx.Bucket(leasesBucket).Delete(leaseKey(id)); err != nil {
			return err
		}
	}
	return nil
}

// putContent writes all of a content to a database without buckets.
func putContent(tx *bbolt.Tx, c *content) error {
	for _, name := range [][]byte{keysBucket, leasesBucket, headBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	var err error
	c.leases.Scan(func(id LeaseID, ttl time.Duration) bool {
		err = put(tx, leasesBucket, leaseKey(id), int64(ttl), 0, nil)
		return err == nil
	})
	c.keys.Scan(func(key string, r record) bool {
		if err == nil {
			err = put(tx, keysBucket, []byte(key), r.rev, int64(r.lease), r.value)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return put(tx, headBucket, headKey, format, c.rev, nil)
}

// A reader makes a content of records.
type reader struct {
	content
	headed bool
}

// record takes the record of a bucket.
func (r *reader) record(bucket, key, data []byte) error {
	a, b, value, err := parse(bucket, key, data)
	switch {
	case err != nil:
		return err
	case string(bucket) == string(keysBucket):
		r.keys.Set(string(key), record{a, LeaseID(b), append([]byte{}, value...)})
	case string(bucket) == string(leasesBucket) && len(key) == 8 && a > 0:
		r.leases.Set(LeaseID(binary.BigEndian.Uint64(key)), time.Duration(a))
	case string(bucket) == string(headBucket) && string(key) == string(headKey):
		if a > format {
			return errNewer
		}
		r.rev, r.headed = b, true
	default:
		return fmt.Errorf("%s: key %q does not belong here", bucket, key)
	}
	return nil
}

// done returns the content when all records have been read, if they go together.
func (r *reader) done() (*content, error) {
	if !r.headed {
		return nil, errors.New("its revision is missing")
	}
	var err error
	r.keys.Scan(func(key string, rec record) bool {
		_, alive := r.leases.Get(rec.lease)
		switch {
		case key == "" || rec.rev <= 0 || rec.rev > r.rev:
			err = fmt.Errorf("%s: key %q is of revision %d, the file of %d", keysBucket, key, rec.rev, r.rev)
		case rec.lease != 0 && !alive:
			err = fmt.Errorf("%s: key %q has a lease that is not there", keysBucket, key)
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return &r.content, nil
}
