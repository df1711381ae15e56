package chain

import (
	"encoding/json"
	"strings"
	"testing"
)

// zeros512 is an empty bloom filter.
var zeros512 = strings.Repeat("0", 512)

// What rollups add to a receipt is read; without it, and in every other field, it is the receipt it always was.
func TestReceiptsTellTheFeeForDataOnAnotherChain(t *testing.T) {
	t.Parallel()
	common := `"status":"0x1","cumulativeGasUsed":"0x5208","logsBloom":"0x` + zeros512 + `","logs":[],` +
		`"transactionHash":"0x00000000000000000000000000000000000000000000000000000000000000aa","gasUsed":"0x5208","blockNumber":"0x7","effectiveGasPrice":"0x3b9aca00",` +
		`"blockHash":"0x00000000000000000000000000000000000000000000000000000000000000bb","blockNumber":"0x7","transactionIndex":"0x0"`
	for text, want := range map[string]uint64{
		"{" + common + "}":                      0,
		"{" + common + `,"l1Fee":"0x2710"}`:     10_000,
		"{" + common + `,"l1Fee":null}`:         0,
		"{" + common + `,"l1Fee":"0x0","x":{}}`: 0,
	} {
		var r Receipt
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if r.L1Fee.Uint64() != want || r.GasUsed != 21_000 || r.BlockNumber.Uint64() != 7 {
			t.Errorf("have fee %v, gas %d in block %v, want fee %d, gas 21000 in block 7", &r.L1Fee, r.GasUsed, r.BlockNumber, want)
		}
	}
	for _, text := range []string{"{" + common + `,"l1Fee":"ten"}`, "{" + common + `,"operatorFeeScalar":"0x100000000"}`, `{"status":"0x1"}`, "7"} {
		if err := json.Unmarshal([]byte(text), new(Receipt)); err == nil {
			t.Errorf("%.40s: have no error", text)
		}
	}
}

// What an OP stack chain's operator took is computed from the receipt's parameters and gas, by the formula of the upgrade; and what a
// transaction cost is all of it.
func TestReceiptsTellTheOperatorFee(t *testing.T) {
	t.Parallel()
	receipt := `{"status":"0x1","cumulativeGasUsed":"0x5208","logsBloom":"0x` + zeros512 + `","logs":[],"l1Fee":"0x3e8",` +
		`"transactionHash":"0x00000000000000000000000000000000000000000000000000000000000000aa","gasUsed":"0x5208","blockNumber":"0x7","effectiveGasPrice":"0x2"`
	for fields, want := range map[string]uint64{
		``: 0,
		`,"operatorFeeScalar":"0x0","operatorFeeConstant":"0x0"`:                                   0,
		`,"operatorFeeConstant":"0x9"`:                                                             9,
		`,"operatorFeeScalar":"0x2710","operatorFeeConstant":"0x9"`:                                21_000*10_000/1_000_000 + 9,
		`,"operatorFeeScalar":"0x2710","operatorFeeConstant":"0x9","daFootprintGasScalar":"0x190"`: 21_000*10_000*100 + 9,
	} {
		var r Receipt
		if err := json.Unmarshal([]byte(receipt+fields+"}"), &r); err != nil {
			t.Fatal(err)
		}
		if cost := r.Cost(); r.OperatorFee.Uint64() != want || cost.Uint64() != 42_000+1_000+want {
			t.Errorf("%q: have an operator fee of %v and a cost of %v, want %d and %d", fields, &r.OperatorFee, &cost, want, 43_000+want)
		}
	}
}

// Logs are read when they are asked for; what is none does not hide the rest of a receipt.
func TestLogsOfAReceiptAreReadWhenTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0", 62)
	receipt := `{"status":"0x1","cumulativeGasUsed":"0x5208","logsBloom":"0x` + zeros512 + `","transactionHash":"0x` + hash + `aa","gasUsed":"0x5208","blockNumber":"0x7","contractAddress":null,"type":"0x2","logs":`
	log := `{"address":"0x00000000000000000000000000000000000000cc","topics":["0x` + hash + `dd"],"data":"0x01","blockNumber":"0x7","transactionHash":"0x` +
		hash + `aa","transactionIndex":"0x0","blockHash":"0x` + hash + `bb","logIndex":"0x3","removed":false}`
	for logs, want := range map[string]int{"[]": 0, "[" + log + "]": 1, "[" + log + "," + log + "]": 2, "[7]": -1, `[{"topics":7}]`: -1} {
		var r Receipt
		if err := json.Unmarshal([]byte(receipt+logs+"}"), &r); err != nil || r.GasUsed != 21_000 || r.Status != 1 {
			t.Fatalf("%.40s: have %v, gas %d, status %d", logs, err, r.GasUsed, r.Status)
		}
		have, err := r.ReadLogs()
		if (err != nil) != (want < 0) || err == nil && len(have) != want {
			t.Errorf("%.40s: have %d logs, %v, want %d", logs, len(have), err, want)
		}
		if want > 0 && (have[want-1].Index != 3 || have[want-1].BlockNumber != 7 || have[want-1].Topics[0][31] != 0xdd) {
			t.Errorf("have %+v, want the log as it was given", have[want-1])
		}
	}
	for _, logs := range []string{"null", `"none"`, "{}"} {
		if err := json.Unmarshal([]byte(receipt+logs+"}"), new(Receipt)); err == nil {
			t.Errorf("%s: have a receipt, want an error", logs)
		}
	}
}
