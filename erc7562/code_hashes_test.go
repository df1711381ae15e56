package erc7562

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// They find and write what a map of the same finds and writes.
func TestCodeHashesAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := rapid.Custom(func(t *rapid.T) common.Hash { return common.Hash{31: rapid.Byte().Draw(t, "hash")} })
		address := rapid.Custom(func(t *rapid.T) common.Address { return common.Address{0: rapid.Byte().Draw(t, "address") % 16} })
		var want map[common.Address]common.Hash
		var have CodeHashes
		if rapid.IntRange(0, 9).Draw(t, "none") > 0 {
			want = rapid.MapOf(address, hash).Draw(t, "hashes")
			list := make([]CodeHash, 0, len(want))
			for account, hash := range want {
				list = append(list, CodeHash{account, hash})
			}
			have = CodeHashesOf(list)
		}
		for n := range byte(16) {
			account := common.Address{n}
			hash, found := have.Of(account)
			if wanted, there := want[account]; hash != wanted || found != there {
				t.Fatalf("account %s: have %s, %v, want %s, %v", account, hash, found, wanted, there)
			}
		}
		text, err := json.Marshal(have)
		if err != nil {
			t.Fatal(err)
		}
		if wanted, err := json.Marshal(want); err != nil || string(text) != string(wanted) {
			t.Fatalf("have %s, want %s (%v)", text, wanted, err)
		}
		var back CodeHashes
		if err := json.Unmarshal(text, &back); err != nil || !slices.Equal(back, have) || (back == nil) != (have == nil) {
			t.Fatalf("have %v, %v, want %v", back, err, have)
		}
	})
}
