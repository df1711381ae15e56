package store

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"baler/journal"
	"baler/userop"
)

// Whatever an operation has and has not, it is read back as it was.
func TestAMinedOperationIsReadBackAsItWas(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		address := func(name string) *common.Address {
			return rapid.Ptr(rapid.Map(rapid.Byte(), func(b byte) common.Address { return common.Address{19: b} }), true).Draw(r, name)
		}
		data := func(name string) []byte { return rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(r, name) }
		number := func(name string) uint256.Int { return *uint256.NewInt(0).SetBytes(data(name)) }
		gas := rapid.Uint64()
		op := &userop.UserOperation{
			Version: rapid.SampledFrom(userop.Versions()).Draw(r, "version"), Sender: common.Address{1}, Nonce: number("nonce"),
			Factory: address("factory"), FactoryData: data("factory data"), CallData: data("call data"),
			CallGasLimit: gas.Draw(r, "call"), VerificationGasLimit: gas.Draw(r, "verification"), PreVerificationGas: gas.Draw(r, "before"),
			MaxFeePerGas: number("fee"), MaxPriorityFeePerGas: number("priority"), Paymaster: address("paymaster"),
			PaymasterVerificationGasLimit: gas.Draw(r, "paymaster's verification"), PaymasterPostOpGasLimit: gas.Draw(r, "after"),
			PaymasterData: data("paymaster data"), Signature: data("signature"),
		}
		if rapid.Bool().Draw(r, "paymaster signs") {
			op.PaymasterSignature = data("paymaster's signature")
		}
		if rapid.Bool().Draw(r, "authorized") {
			op.Authorization = &types.SetCodeAuthorization{ChainID: number("chain"), Address: common.Address{2}, Nonce: gas.Draw(r, "nonce of the account"), V: 1, R: number("r"), S: number("s")}
		}
		want := &packedMined{Hash: common.Hash{3}, Number: 7, Operation: []packedOperation{packOperation(op)}, Story: data("story")}
		record, err := want.record()
		if err != nil {
			r.Fatal(err)
		}
		have, err := unpackMined(record)
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(op, have.mined().Operation, cmpopts.EquateEmpty()); diff != "" || have.Number != 7 || string(have.Story) != string(want.Story) {
			r.Fatalf("(-want +have):\n%s", diff)
		}
		if used, is := op.PaymasterSignature != nil, have.mined().Operation.PaymasterSignature != nil; used != is {
			r.Fatalf("the paymaster's signature: have one %v, want %v", is, used)
		}
	})
}

// minedBefore is the record of a mined operation in a store of format 2, with the block and the number in it.
const minedBefore = `{"Hash":"0x67270a4f766242385d9dcae1b068f739b46050e9a94c572077454d85592943b1","EntryPoint":"0x0000000071727de22e5e9d8baf0edac6f37da032",` +
	`"Block":21,"BlockHash":"0x9c466052e1725cb650fd6784e8ace981328e7d2fbc60e21854f24f109e28017b","Transaction":"0xeaea784f6923e734724d81c5a04d207a2e5165c19172c96468746943894f4b41",` +
	`"Story":[{"at":1795637979889,"block":19,"event":"received"},{"at":1795637981664,"block":21,"event":"mined","success":true,"gasUsed":"90788"}],` +
	`"Operation":{"Hash":"0x67270a4f766242385d9dcae1b068f739b46050e9a94c572077454d85592943b1","EntryPoint":{"Address":"0x0000000071727de22e5e9d8baf0edac6f37da032","Version":2},` +
	`"ValidAfter":0,"ValidUntil":0,"ValidityInBlocks":false,"Aggregator":"0x0000000000000000000000000000000000000000","Prefund":"12501000000000000","VerificationGasUsed":29115,` +
	`"Staked":{"Sender":false,"Factory":false,"Paymaster":false,"Aggregator":false},"NonceAhead":0,"AssociatedStorageIn":null,"CodeHashes":{},"AddedBlock":19,"AddedTime":1795637979,` +
	`"Op":{"sender":"0x3992fa5b8e0af66e03cf1afe5e7767aa99654564","nonce":"0x1","callData":"0xb61d27f6","callGasLimit":"0x33b6","verificationGasLimit":"0xdf44","preVerificationGas":"0xd558",` +
	`"maxFeePerGas":"0x174876e800","maxPriorityFeePerGas":"0x77359400","signature":"0x0a1c"}},"Number":1}`

func TestAStoreOfTheFormatBeforeIsReadAndBecomesOneOfThisFormat(t *testing.T) {
	dir := t.TempDir()
	hash, block := common.HexToHash("0x67270a4f766242385d9dcae1b068f739b46050e9a94c572077454d85592943b1"), common.HexToHash("0x9c466052e1725cb650fd6784e8ace981328e7d2fbc60e21854f24f109e28017b")
	s := mustOpen(t, dir, Options{})
	meta, err := seal(recordMeta, storedMeta{Format - 1, testMeta})
	if err != nil {
		t.Fatal(err)
	}
	err = s.db.Update(func(tx transaction) error {
		order := tx.Bucket(bucketMinedOrder)
		next, err := order.NextSequence()
		if err != nil {
			return err
		}
		for _, put := range []struct {
			bucket     bucket
			key, value []byte
		}{
			{tx.Bucket(bucketMeta), keyMeta, meta},
			{tx.Bucket(bucketMined), hash[:], journal.Seal(recordMined, []byte(minedBefore))},
			{order, number(next), hash[:]},
			{tx.Bucket(bucketMinedBlock), append(block.Bytes(), hash[:]...), []byte{}},
		} {
			if err := put.bucket.Put(put.key, put.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)

	looked, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatalf("to look at: %v", err)
	}
	mustClose(t, looked)
	s = mustOpen(t, dir, Options{History: 2})
	var format int
	err = s.db.View(func(tx transaction) error {
		stored, err := readMeta(tx)
		if err == nil {
			format = stored.Format
		}
		return err
	})
	if err != nil || format != Format {
		t.Errorf("have format %d, %v, want %d: a program of the format before must not write to it", format, err, Format)
	}
	m, err := s.Mined(hash)
	if err != nil || m == nil || m.Block != 21 || m.Operation == nil || m.Operation.Sender != common.HexToAddress("0x3992fa5b8e0af66e03cf1afe5e7767aa99654564") || len(m.Story) == 0 || m.Story[0] != '[' {
		t.Fatalf("have %+v, %v, want the operation with its story", m, err)
	}
	stop := start(t, s)
	// The old ones are forgotten in their turn, and replaced, as any.
	for _, write := range []Write{PutMined(MinedOperation{Hash: hash, Block: 22, BlockHash: common.Hash{22}}), PutMined(MinedOperation{Hash: common.Hash{1}}), PutMined(MinedOperation{Hash: common.Hash{2}})} {
		if err := s.Commit(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Mined(hash); m != nil && (err != nil || m.Block != 22 || m.Operation == nil) {
			t.Errorf("have %+v, %v, want the block that was told last, and the operation", m, err)
		}
	}
	if m, err := s.Mined(hash); m != nil || err != nil {
		t.Errorf("have %+v, %v, want it forgotten", m, err)
	}
	stop()
}
