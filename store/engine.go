package store

// engine keeps pairs of bytes in buckets, in the order of their keys, and changes them in transactions. There are two: a
// file on a disk (bolt.go), and a table that somebody else keeps, with a copy of it in memory (table.go). What is in the
// buckets is the same in both.
//
// The names are bbolt's, so that what is written for one reads like what is written for the other.
type engine interface {
	// View runs a function over what was committed last. What it is given lives as long as the function.
	View(read func(transaction) error) error
	// Update runs a function and makes all it changed durable, or, after an error, nothing of it. It has one caller at a time.
	Update(change func(transaction) error) error
	// Check looks at the structure of everything, before anything of it is believed.
	Check() error
	Close() error
}

// transaction is a view of all buckets, and a set of changes of them.
type transaction interface {
	// Empty says that nothing was ever written.
	Empty() bool
	// Bucket returns a bucket, nil if it is not there.
	Bucket(name []byte) bucket
	CreateBucketIfNotExists(name []byte) (bucket, error)
	// ClearBucket drops all that is in a bucket.
	ClearBucket(name []byte) error
}

// bucket is pairs of bytes, and buckets in it. Keys are not empty. What it returns must not be changed, and lives as long as the
// transaction.
type bucket interface {
	Get(key []byte) []byte // nil if it is not there
	Put(key, value []byte) error
	Delete(key []byte) error
	Cursor() cursor
	// NextSequence returns 1, then 2, and so on.
	NextSequence() (uint64, error)
	// Bucket returns a bucket in this one, nil if it is not there.
	Bucket(name []byte) bucket
	CreateBucketIfNotExists(name []byte) (bucket, error)
	ForEachBucket(visit func(name []byte) error) error
	// Grows says that new keys come after all others.
	Grows()
}

// cursor walks through a bucket in the order of the keys. A key of nil is the end.
type cursor interface {
	First() (key, value []byte)
	Last() (key, value []byte)
	Next() (key, value []byte)
	Prev() (key, value []byte)
	// Seek goes to the first pair whose key is not before the given one.
	Seek(key []byte) (found, value []byte)
}
