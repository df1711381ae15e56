package erc7562

import (
	"encoding/json"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// CodeHash is the hash of an account's code.
type CodeHash struct {
	Account common.Address
	Hash    common.Hash
}

// CodeHashes are the code hashes of the accounts that a validation visited (COD-010), each account once, in the order of their addresses:
// there are some with each operation that waits, and a map of them takes twice the memory. As JSON they are an object by address.
type CodeHashes []CodeHash

// CodeHashesOf puts them in order. It takes the list over.
func CodeHashesOf(list []CodeHash) CodeHashes {
	slices.SortFunc(list, func(a, b CodeHash) int { return a.Account.Cmp(b.Account) })
	return list
}

// Of returns the hash of an account's code; false: validation has not visited it.
func (c CodeHashes) Of(account common.Address) (common.Hash, bool) {
	at, found := slices.BinarySearchFunc(c, account, func(h CodeHash, account common.Address) int { return h.Account.Cmp(account) })
	if !found {
		return common.Hash{}, false
	}
	return c[at].Hash, true
}

// MarshalJSON implements [json.Marshaler].
func (c CodeHashes) MarshalJSON() ([]byte, error) {
	if c == nil {
		return []byte("null"), nil
	}
	object := make(map[common.Address]common.Hash, len(c))
	for _, h := range c {
		object[h.Account] = h.Hash
	}
	return json.Marshal(object)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *CodeHashes) UnmarshalJSON(text []byte) error {
	var object map[common.Address]common.Hash
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	if *c = nil; object == nil {
		return nil
	}
	list := make([]CodeHash, 0, len(object))
	for account, hash := range object {
		list = append(list, CodeHash{account, hash})
	}
	*c = CodeHashesOf(list)
	return nil
}
